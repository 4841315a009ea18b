"""Configuration of the dataset and of how its columns are read."""

import datetime
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, PositiveInt, model_validator

from tasks.config.constraints import ConstraintsConfig
from tasks.config.paths import DatasetPath
from tasks.config.section import Section, Share, written_null

OnBadFile = Literal["stop", "quarantine"]
"""Treatment of a file that cannot be read: the job stops, or sets the file aside."""


OnMissing = Annotated[Literal["null", "error"], BeforeValidator(written_null)]
"""Treatment of a column that some files lack: it is null there, or an error."""


Bound = int | float | datetime.date | datetime.datetime
"""A number, or a date or timestamp in the time zone of its column."""


class ColumnConfig(Section):
    """The kind of a column, where the inferred one is wrong, and bounds of samples."""

    kind: (
        Literal[
            "binary",
            "categorical",
            "integer",
            "real",
            "timestamp",
            "sequence",
            "leave_out",
        ]
        | None
    ) = None
    """Kind of the column's distribution; by default, it is inferred. A text column of
    kind sequence is modelled letter by letter, and a column of kind leave_out is not
    modelled. Text that says dates, times or numbers is modelled as such, with kind
    categorical as text."""

    min: Bound | None = None
    """Least number or date of synthetic rows; by default, that of the training rows."""

    max: Bound | None = None
    """Greatest number or date of synthetic rows; by default, that of the training
    rows."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind is None and self.min is None and self.max is None:
            raise ValueError("give kind, min or max")
        return self


class ImageConfig(Section):
    """The shape of images that stand in a column of lists or in many columns.

    The values of an image stand row by row; the channels of a pixel follow each other.
    """

    height: PositiveInt
    """Height of an image in pixels."""

    width: PositiveInt
    """Width of an image in pixels."""

    channels: PositiveInt = 1
    """Values per pixel: 1 for grey images, 3 for RGB."""

    pixels: Literal["auto", "binary", "softmax", "mixture"] = "auto"
    """Distribution of a pixel: Bernoulli for two values, a softmax over all values, or
    a mixture of discretised logistics; auto chooses by value."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of values per image."""
        return self.height * self.width * self.channels


class SplitConfig(Section):
    """Rule that splits rows into train, valid, calibration and test."""

    by: Literal["hash", "time"] = "hash"
    """hash assigns each row by a hash of its values, so that a row stays in its split
    when the data grows; time puts the latest rows into test."""

    column: str | None = None
    """Time column; required by `by: time`."""

    valid: Share = 0.1
    """Share of rows for early stopping."""

    calibration: Share = 0.1
    """Share of rows that p-values are calibrated with."""

    test: Share = 0.1
    """Share of rows for the evaluation and the gate. The rest is train."""

    seed: int = 0
    """Seed of the hash."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.by == "time" and self.column is None:
            raise ValueError("by: time needs column, the name of the time column")
        if self.valid + self.calibration + self.test >= 1:
            raise ValueError(
                "the shares valid, calibration and test must add up to less than 1, "
                "so that rows are left for training"
            )
        return self


class SequenceConfig(Section):
    """Grouping of rows into sequences, one per value of a key column."""

    key: str
    """Column whose equal values make up one sequence."""

    order_by: str | None = None
    """Column that sorts a sequence; default: file order."""

    @property
    def columns(self) -> list[str]:
        """The key, and the column that sorts a sequence if there is one."""
        return [self.key, *([self.order_by] if self.order_by else [])]


class DataConfig(Section):
    """Dataset to learn from, and how its columns are read."""

    path: DatasetPath
    """Parquet file, directory, glob pattern or hive-partitioned dataset, local or
    s3://."""

    id: tuple[str, ...] = ()
    """Columns copied to every output and not modelled, such as a primary key. They also
    distinguish equal rows when rows are split."""

    exclude: tuple[str, ...] = ()
    """Columns that are neither modelled nor copied to outputs."""

    columns: dict[str, ColumnConfig] = {}
    """Kinds of columns whose inferred kind is wrong, and bounds of synthetic values."""

    images: dict[str, ImageConfig] = {}
    """Images by column name, or by a pattern such as x* where every pixel is a
    column."""

    constraints: ConstraintsConfig = ConstraintsConfig()
    sequence: SequenceConfig | None = None
    """Group rows into sequences; default: each row stands alone."""

    split: SplitConfig = SplitConfig()
    on_bad_file: OnBadFile = "stop"
    """Treatment of a corrupt file: the job stops, or sets the file aside and names it
    in the result."""

    on_missing: OnMissing = "null"
    """Treatment of a column that some files lack, as older files of a growing schema
    do: it is null there, or the job stops."""

    max_categories: PositiveInt = 10_000
    """Text columns with more distinct values are left out of the model."""

    min_category_count: PositiveInt = 2
    """Categories with fewer train rows share one code, which unseen categories get as
    well."""

    def kind_of(self, column: str) -> str | None:
        """Return the configured kind of a column, or None if it is inferred."""
        override = self.columns.get(column)
        return override.kind if override else None

    def modelled(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names of columns that are neither excluded nor ids."""
        return tuple(n for n in names if n not in {*self.exclude, *self.id})
