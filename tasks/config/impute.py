"""Configuration of the imputation of missing values."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from tasks.config.paths import DatasetPath, OutputPath
from tasks.config.section import Confidence, Section


class ImputeConfig(Section):
    """How nulls are replaced by values."""

    input: DatasetPath | None = Field(
        None, description="Dataset whose nulls are filled; default: data.path."
    )
    output: OutputPath | None = Field(
        None, description="Directory for the results; default: under the storage."
    )
    method: Literal["draw", "median", "mean"] = Field(
        "draw",
        description="Imputation method: draw samples from the distribution given the "
        "known values; median and mean summarise it, and categories use the mode.",
    )
    imputations: PositiveInt = Field(
        1, description="Imputations per row; more than 1 needs method draw."
    )
    details: bool = Field(
        False,
        description="Also write which values were imputed, their probabilities and "
        "intervals.",
    )
    confidence: Confidence = Field(
        0.9,
        description="Level of the central intervals that details writes for medians "
        "and means.",
    )
    seed: int = Field(0, description="Random seed of method draw.")
    rows_per_fragment: PositiveInt = Field(
        100_000, description="Maximum number of rows per output file."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.imputations > 1 and self.method != "draw":
            raise ValueError(
                f"imputations above 1 need method draw; method {self.method} gives the "
                "same values each time"
            )
        return self
