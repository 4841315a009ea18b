"""Configuration of the dataset and of how its columns are read."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from tasks.config.section import Section, Share


class ColumnConfig(Section):
    """What the user knows better than the inference about one column."""

    kind: Literal[
        "binary",
        "categorical",
        "integer",
        "real",
        "timestamp",
        "sequence",
        "leave_out",
    ]


class ImageConfig(Section):
    """A column of lists, or as many columns, that are the pixels of images.

    They stand row by row, the channels of a pixel one after the other.
    """

    height: PositiveInt = Field(description="rows of an image")
    width: PositiveInt = Field(description="columns of an image")
    channels: PositiveInt = Field(1, description="channels of a pixel")
    pixels: Literal["auto", "binary", "softmax", "mixture"] = Field(
        "auto",
        description="conditionals: of two values, of any value, or smooth in the value",
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of values of an image."""
        return self.height * self.width * self.channels


class SplitConfig(Section):
    """How rows are divided; what the three shares leave is for training."""

    by: Literal["hash", "time"] = "hash"
    column: str | None = Field(None, description="time column, for by: time")
    valid: Share = 0.1
    calibration: Share = 0.1
    test: Share = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def check(self) -> "SplitConfig":
        """Rules that several keys make together."""
        if self.by == "time" and self.column is None:
            raise ValueError("by: time needs column, the one that holds the time")
        if self.valid + self.calibration + self.test >= 1:
            raise ValueError("valid, calibration and test leave nothing for training")
        return self


class SequenceConfig(Section):
    """Which rows make up a sequence: those of one key."""

    key: str = Field(description="column that says which sequence a row belongs to")
    order_by: str | None = Field(
        None, description="column that says where in it; as the rows come if none"
    )


class DataConfig(Section):
    """The dataset and how its columns are to be read."""

    path: str = Field(
        description="Parquet file, folder, glob or hive dataset, local or s3://"
    )
    id: tuple[str, ...] = Field(
        (),
        description="columns carried to the output, not modelled; they tell equal rows "
        "apart when rows are split",
    )
    exclude: tuple[str, ...] = Field((), description="columns neither used nor carried")
    columns: dict[str, ColumnConfig] = Field(
        {}, description="overrides of the inferred kinds"
    )
    images: dict[str, ImageConfig] = Field(
        {}, description="by the name of a column of lists, or a pattern such as x*"
    )
    sequence: SequenceConfig | None = Field(
        None, description="if rows are the places of sequences"
    )
    split: SplitConfig = SplitConfig()
    on_bad_file: Literal["stop", "quarantine"] = "stop"
    max_categories: PositiveInt = Field(
        10_000, description="a string column with more distinct values is left out"
    )
    min_category_count: PositiveInt = Field(
        2, description="rarer categories share the place of never-seen ones"
    )
