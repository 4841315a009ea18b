"""Configuration of the evaluation on held-out rows."""

from pydantic import PositiveInt

from tasks.config.section import Budget, Confidence, Section


class EvaluateConfig(Section):
    """Metrics that are computed on the held-out test rows."""

    confidence: Confidence = 0.95
    """Level of confidence intervals."""

    resamples: PositiveInt = 1000
    """Bootstrap resamples per confidence interval."""

    baseline_rows: PositiveInt = 200_000
    """Maximum number of train rows that the baseline of independent columns is fitted
    to."""

    segments: tuple[str, ...] = ()
    """Columns for each of whose values the NLL is reported as well."""

    label: str | None = None
    """Column that is true for anomalies. It is not modelled; AUROC and average
    precision are computed with it."""

    budget: Budget = 0.01
    """Most anomalous rows of which the precision is reported, if there is a label: a
    number of rows, or below 1 a share."""
