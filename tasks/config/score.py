"""Configuration of scoring and of the rule that flags anomalies."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ar_models.scoring.choices import (
    DEFAULT_STATISTIC,
    Explain,
    MissingPolicy,
    Precision,
    Statistic,
)
from tasks.config.paths import DatasetPath, ResultPath
from tasks.config.section import Budget, FragmentRows, Section

RULES = ("threshold", "fdr", "budget")
"""Keys of `score` that flag anomalies; at most one of them may be set."""


class ScoreConfig(Section):
    """Settings of scoring: the columns to write, and the rule for anomalies."""

    input: DatasetPath | None = None
    """Dataset to score; default: data.path."""

    output: ResultPath = None

    passthrough: tuple[str, ...] | Literal["all"] = ()
    """Columns to copy to the output besides data.id, for reading; all copies every
    column, so that the output is the input with the scores beside it."""

    statistic: Statistic = DEFAULT_STATISTIC
    """Statistic that the anomaly score is made of; the choice needs no new training."""

    threshold: Annotated[float, Field(gt=0, lt=100)] | None = None
    """Severity from which rows are flagged, a percentile among calibration rows;
    default: 99.9 if neither fdr nor budget is set."""

    fdr: Annotated[float, Field(gt=0, lt=1)] | None = None
    """False discovery rate at which rows are flagged: the expected share of ordinary
    rows among them (Benjamini-Hochberg)."""

    budget: Budget | None = None
    """Number of most anomalous rows to flag, or below 1 their share. Ties are broken by
    p_value, anomaly_score and file order."""

    calibrate_by: str | None = None
    """Binary or categorical column: p-values compare a row with the calibration rows of
    the same value; default: with all."""

    min_segment_rows: PositiveInt = 1000
    """Calibration rows that a value of calibrate_by needs; rows with rarer values are
    compared with all."""

    missing: MissingPolicy = "model"
    """Meaning of a null: an observation, whose probability is modelled, or an unknown
    value, which is marginalised."""

    explain: Explain = "flagged"
    """Rows whose scores are explained by columns."""

    explain_columns: PositiveInt = 3
    """Maximum number of columns per explanation."""

    column_log_prob: bool = False
    """Write the log-probability of each column, and of each place of a sequence."""

    precision: Precision = "fp32"
    """Precision of the network's matrix products; bf16 is faster and changes
    log-probabilities by some hundredths of a nat."""

    rows_per_fragment: FragmentRows = 100_000

    versions: Literal["side_by_side", "replace"] = "side_by_side"
    """Treatment of the scores of a partition by other model versions, with
    --incremental and backfill: they are kept or replaced."""

    after_retrain: bool = False
    """After a retraining, score the partitions that the champion has not scored yet."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [k for k in RULES if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(
                f"only one of {', '.join(RULES)} can flag anomalies, got "
                f"{' and '.join(given)}"
            )
        return self
