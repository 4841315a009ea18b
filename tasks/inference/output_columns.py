"""Columns that the jobs add to their input, with types and meanings.

The reference is generated from these tables, and the tests compare them with the
schemas of real outputs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OutputColumn:
    """A column of an output.

    Attributes:
        name: Name of the column.
        type: Arrow type, as Arrow prints it without the names of struct fields.
        meaning: Meaning and unit of its values.
    """

    name: str
    type: str
    meaning: str


PLACES = (
    OutputColumn(
        "source",
        "string",
        "Without `data.id`: file that the row comes from, relative to the dataset.",
    ),
    OutputColumn(
        "row", "int64", "Without `data.id`: number of the row in that file, from 0."
    ),
)
"""First columns of scored rows that have no id."""

SCORED = (
    OutputColumn(
        "log_prob",
        "double",
        "Log-probability of the row, in nats of the original columns.",
    ),
    OutputColumn(
        "anomaly_score",
        "double",
        "Value of `score.statistic`, in nats; larger is more anomalous.",
    ),
    OutputColumn(
        "uncertainty",
        "double",
        "Standard deviation of the anomaly score over orderings and ensemble members, "
        "in nats; null if there is one of each.",
    ),
    OutputColumn(
        "p_value",
        "double",
        "Share of calibration rows that are at least as anomalous: "
        "(1 + their number) / (1 + n).",
    ),
    OutputColumn(
        "q_value",
        "double",
        "Benjamini-Hochberg adjusted p-value over all scored rows.",
    ),
    OutputColumn(
        "severity",
        "double",
        "Percentile of the anomaly score among calibration rows, 0 to 100.",
    ),
    OutputColumn(
        "is_anomaly",
        "bool",
        "Whether the rule (`score.threshold`, `score.fdr` or `score.budget`) flags "
        "the row.",
    ),
    OutputColumn(
        "explanation",
        "list<struct>",
        "Columns that contribute most to the anomaly score: `column`, `contribution` "
        "(nats), `tail_probability`, `value`, `expected`. Null for rows without an "
        "explanation.",
    ),
    OutputColumn(
        "column_log_prob",
        "struct",
        "With `score.column_log_prob`: log-probability of each column given those "
        "before it, in nats; they sum to `log_prob`.",
    ),
    OutputColumn(
        "place_log_prob",
        "struct",
        "With `score.column_log_prob`, for columns of sequences: log-probability of "
        "each element, in nats.",
    ),
)
"""Columns of scored rows, after the id and partition columns."""

EMBEDDED = (
    OutputColumn(
        "features", "fixed_size_list<float>", "Features of the row from the network."
    ),
)
"""Columns of embedded rows, after the id and partition columns."""

IMPUTED = (
    OutputColumn(
        "imputed",
        "list<struct>",
        "With `impute.details`: the filled cells: `column`, `probability` of a filled "
        "category, `low` and `high` of the interval of a filled number.",
    ),
    OutputColumn(
        "imputation",
        "int32",
        "With `impute.imputations` above 1: number of the imputation, from 0.",
    ),
)
"""Columns of imputed rows, after all columns of the input."""

SAMPLED = (
    OutputColumn(
        "log_prob",
        "double",
        "With `sample.log_prob`: log-probability of the drawn row, in nats.",
    ),
)
"""Columns of synthetic rows, after the original columns."""

QUARANTINED = (
    OutputColumn("source", "string", "File that the row comes from."),
    OutputColumn("row", "int64", "Number of the row in that file, from 0."),
    OutputColumn("reason", "string", "Why the row has no result."),
)
"""Columns of `quarantine/`, after the id and partition columns."""

OUTPUTS = {
    "score": (*PLACES, *SCORED),
    "embed": EMBEDDED,
    "impute": IMPUTED,
    "sample": SAMPLED,
    "quarantine": QUARANTINED,
}
"""Columns of every output, by command; `quarantine` belongs to score and embed."""
