"""Configuration of the evaluation on held-out rows."""

from pydantic import Field, PositiveInt

from tasks.config.section import Budget, Confidence, Section


class EvaluateConfig(Section):
    """Figures that are computed from the test rows."""

    confidence: Confidence = Field(0.95, description="Level of confidence intervals.")
    resamples: PositiveInt = Field(
        1000, description="Bootstrap resamples per confidence interval."
    )
    baseline_rows: PositiveInt = Field(
        200_000,
        description="Maximum number of train rows that the baseline of independent "
        "columns is fitted to.",
    )
    segments: tuple[str, ...] = Field(
        (), description="Columns for each of whose values the NLL is reported as well."
    )
    label: str | None = Field(
        None,
        description="Column that is true for anomalies. It is not modelled; AUROC and "
        "average precision are computed with it.",
    )
    budget: Budget = Field(
        0.01,
        description="Most anomalous rows of which the precision is reported, if there "
        "is a label: a number of rows, or below 1 a share.",
    )
