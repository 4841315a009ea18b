"""Configuration of the imputation of missing values."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from tasks.config.section import Section


class ImputeConfig(Section):
    """What is written into empty cells."""

    input: str | None = Field(None, description="dataset to fill; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    method: Literal["draw", "median", "mean"] = Field(
        "draw",
        description="draw; median or mean of numbers take the likeliest category",
    )
    imputations: PositiveInt = Field(
        1, description="times that every row is filled, by draws"
    )
    details: bool = Field(
        False, description="write which cells were filled, how probably, and intervals"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="of the central intervals of numbers that are not drawn"
    )
    seed: int = 0
    rows_per_fragment: PositiveInt = 100_000

    @model_validator(mode="after")
    def check(self) -> "ImputeConfig":
        """Rules that several keys make together."""
        if self.imputations > 1 and self.method != "draw":
            raise ValueError(
                f"imputations above 1 need method draw; by {self.method} they would "
                "all be the same"
            )
        return self
