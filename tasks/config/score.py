"""Configuration of scoring and of the rule that flags anomalies."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from tasks.config.section import Budget, Section

RULES = ("threshold", "fdr", "budget")
"""Keys of `score` of which one at most says which rows are anomalies."""


class ScoreConfig(Section):
    """What is written for each scored row, and what counts as an anomaly."""

    input: str | None = Field(None, description="dataset to score; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    passthrough: tuple[str, ...] = Field(
        (), description="columns carried to the output besides data.id, for reading"
    )
    statistic: Literal[
        "combined",
        "density",
        "surplus",
        "excess",
        "surprisal",
        "tail",
        "leave_one_out",
        "typicality",
        "ratio",
        "margins",
        "peak",
    ] = Field("combined", description="what the anomaly score is made of")
    threshold: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None,
        description="severity (percentile of calibration rows) of an anomaly; 99.9 if "
        "neither this nor fdr nor budget is given",
    )
    fdr: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="or the q_value of an anomaly: expected share of false alarms",
    )
    budget: Budget | None = Field(
        None,
        description="or how many rows are anomalies, the most anomalous: count or "
        "share; ties go by p_value, then anomaly_score, then to the earlier row",
    )
    calibrate_by: str | None = Field(
        None, description="column within whose values rows are compared"
    )
    min_segment_rows: PositiveInt = Field(
        1000,
        description="calibration rows that such a value needs; rarer ones use all",
    )
    missing: Literal["model", "marginalise"] = Field(
        "model",
        description="whether a null counts as a value that is missing, or as unknown",
    )
    explain: Literal["all", "flagged", "none"] = "flagged"
    explain_columns: PositiveInt = Field(3, description="columns named per row")
    column_log_prob: bool = Field(
        False, description="write each column's log_prob, of sequences each place's too"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the network's products; bf16 is faster, and rounds"
    )
    rows_per_fragment: PositiveInt = 100_000
    versions: Literal["side_by_side", "replace"] = Field(
        "side_by_side",
        description="whether partitions that are scored one by one keep the results "
        "of other versions of the model",
    )
    after_retrain: bool = Field(
        False, description="score with a new champion what it has not scored"
    )

    @model_validator(mode="after")
    def _check(self) -> "ScoreConfig":
        given = [k for k in RULES if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(
                f"only one of {', '.join(RULES)} can say what an anomaly is; "
                f"{' and '.join(given)} are set"
            )
        return self
