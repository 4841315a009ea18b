"""Configuration of the evaluation on held-out rows."""

from typing import Annotated

from pydantic import Field, PositiveInt

from tasks.config.section import Budget, Section


class EvaluateConfig(Section):
    """How the held-out rows are judged."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: PositiveInt = Field(1000, description="resamples of an interval")
    baseline_rows: PositiveInt = Field(
        200_000, description="train rows that fit the independent columns, at most"
    )
    segments: tuple[str, ...] = Field(
        (), description="columns by whose values the NLL is told as well"
    )
    label: str | None = Field(
        None,
        description="column that is true for anomalies; not modelled, only judged by",
    )
    budget: Budget = Field(
        0.01,
        description="most anomalous rows of which the precision is told: count, share",
    )
