"""Configuration of the imputation of missing values."""

from typing import Self

from pydantic import PositiveInt, model_validator

from ar_models.scoring.choices import ImputationMethod
from tasks.config.paths import DatasetPath, ResultPath
from tasks.config.section import Confidence, FragmentRows, Section


class ImputeConfig(Section):
    """Settings of replacing nulls by values."""

    input: DatasetPath | None = None
    """Dataset whose nulls are filled; default: data.path."""

    output: ResultPath = None

    method: ImputationMethod = "draw"
    """Imputation method: draw samples from the distribution given the known values;
    median and mean summarise it, and categories use the mode."""

    imputations: PositiveInt = 1
    """Imputations per row; more than 1 needs method draw."""

    details: bool = False
    """Also write which values were imputed, their probabilities and intervals."""

    confidence: Confidence = 0.9
    """Level of the central intervals that details writes for medians and means."""

    seed: int = 0
    """Random seed of method draw."""

    rows_per_fragment: FragmentRows = 100_000

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.imputations > 1 and self.method != "draw":
            raise ValueError(
                f"imputations above 1 need method draw; method {self.method} gives the "
                "same values each time"
            )
        return self
