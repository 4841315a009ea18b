"""Anomaly scores of whole tables, with p-values, flags and explanations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ar_models.density.table_density import MIN_SEGMENT_ROWS, TableDensity
from ar_models.scoring.choices import (
    DEFAULT_STATISTIC,
    STATISTICS,
    Explain,
    MissingPolicy,
    Precision,
    Statistic,
)
from ar_models.scoring.conformal import (
    DEFAULT_RULE,
    Rule,
    ValueCounts,
    array_or_nulls,
    flag_anomalies,
)
from ar_models.scoring.explanation import EXPLANATION, explain
from ar_models.scoring.statistics import Scores
from ar_models.tables.encoder import Encoded
from ar_models.tables.list_column import ListColumn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreOptions:
    """Options of scoring: the outputs of each row, and the rule for anomalies.

    Attributes:
        statistic: Statistic that the anomaly score is.
        rule: Rule that flags rows as anomalies.
        calibrate_by: Binary or categorical column; p-value and severity rank a row
            among the calibration rows with the same value.
        min_segment_rows: Calibration rows that a value needs for that; rows with rarer
            or unknown values are ranked among all calibration rows.
        missing: Meaning of a null, see `TableDensity.column_log_prob`. The calibration
            rows' nulls were modelled; a marginalised null adds 0 to a score, the
            expected excess of any column.
        explain: Rows that get an explanation; the others have null.
        explain_columns: Maximum number of columns that an explanation names.
        column_log_prob: Whether to add each column's log-probability, and that of each
            place of sequences.
        precision: Number format of the network's products. bf16 is faster, and scores
            are off by some hundredths of a nat, while the calibration rows' are not.
    """

    statistic: Statistic = DEFAULT_STATISTIC
    rule: Rule = DEFAULT_RULE
    calibrate_by: str | None = None
    min_segment_rows: int = MIN_SEGMENT_ROWS
    missing: MissingPolicy = "model"
    explain: Explain = "all"
    explain_columns: int = 3
    column_log_prob: bool = False
    precision: Precision = "fp32"


DEFAULT_OPTIONS = ScoreOptions()


class Scorer:
    """Scores tables of rows with one density and one set of options.

    Args:
        density: The density, with calibration rows if p-values are wanted.
        options: What is computed.

    Raises:
        ValueError: The density does not support the options.
    """

    def __init__(
        self, density: TableDensity, options: ScoreOptions = DEFAULT_OPTIONS
    ) -> None:
        self.density, self.options = density, options
        self._check()
        self.ranking = density.ranking(
            options.statistic, options.calibrate_by, options.min_segment_rows
        )

    def _check(self) -> None:
        options = self.options
        if options.statistic not in STATISTICS:
            raise ValueError(
                f"statistic must be one of {STATISTICS}, got {options.statistic!r}"
            )
        if options.explain not in get_args(Explain):
            raise ValueError(
                f"explain must be 'all', 'flagged' or 'none', got {options.explain!r}"
            )
        calibrated = bool(self.density.calibration)
        if options.explain == "flagged" and not calibrated:
            if options.rule.kind != "budget":
                raise ValueError(
                    "explain 'flagged' needs calibration rows, and this model has "
                    "none; flag by a budget, explain 'all' or 'none', or train with a "
                    "calibration share above 0"
                )
        self.density.check_statistic(options.statistic)

    def score(self, table: pa.Table) -> pa.Table:
        """Score the rows of a table and flag the anomalies among them.

        The table is taken for the whole dataset where the number of rows matters: in
        q-values and in a budget.

        Args:
            table: Rows with the columns that the encoder knows, in any order.

        Returns:
            A row for each given one: log_prob (nats), anomaly_score (nats), uncertainty
            (standard deviation of the score over orderings and ensemble members, null
            if there is one of each), p_value (share of calibration rows at least as
            anomalous), q_value (Benjamini and Hochberg's, over `table`), severity
            (percentage of calibration rows less anomalous), is_anomaly, explanation,
            and on demand the struct column_log_prob and, where there are sequences,
            place_log_prob, a list for each of them (of reals in the encoder's
            coordinates). Without calibration rows p_value, q_value and severity are
            null, and is_anomaly is null unless the rule is a budget.
        """
        scored = self.score_rows(table)
        ranked = {}
        if self.ranking is not None:
            p_value = scored["p_value"].to_numpy()
            ranked = {
                "p_value": p_value,
                "q_value": ValueCounts.of(p_value).q_value(p_value),
                "severity": scored["severity"].to_numpy(),
            }
        anomaly_score = scored["anomaly_score"].to_numpy()
        flagged = flag_anomalies(self.options.rule, anomaly_score, ranked)
        if self.options.explain == "flagged":
            assert flagged is not None  # or the constructor would have raised
            explanations = self.explain_rows(table, flagged)
            scored = replace_column(scored, "explanation", explanations)
        rows = len(scored)
        q_value = array_or_nulls(ranked.get("q_value"), rows, pa.float64())
        scored = replace_column(scored, "q_value", q_value)
        is_anomaly = array_or_nulls(flagged, rows, pa.bool_())
        return replace_column(scored, "is_anomaly", is_anomaly)

    def score_rows(self, table: pa.Table) -> pa.Table:
        """Compute those columns of `score` that depend on each row alone.

        q_value and is_anomaly are null, and so are explanations unless all rows get
        one.
        """
        density, options = self.density, self.options
        columns = density.columns if options.column_log_prob else None
        schema = output_schema(columns, density.sequences)
        parts = [schema.empty_table()]
        for rows, encoded in density.batches(table, options.missing):
            scores = density.score_batch(encoded, options.statistic, options.precision)
            fields = self._fields(rows, scores)
            if options.explain == "all" and options.explain_columns:
                fields["explanation"] = self._explain(rows, encoded, scores)
            parts.append(pa.table([fields[n] for n in schema.names], schema=schema))
        return pa.concat_tables(parts)

    def _fields(self, table: pa.Table, scores: Scores) -> dict[str, pa.Array]:
        """Return the output columns of one batch, explanations left null."""
        options, rows = self.options, len(scores.x)
        p_value: Floats | None = None
        severity: Floats | None = None
        anomaly_score = scores.anomaly_score
        if self.ranking is not None:
            codes = None
            if options.calibrate_by is not None:
                codes = self.density.encoder.codes(table, options.calibrate_by)
            p_value, severity = self.ranking.rank(anomaly_score, codes)
        fields = {
            "log_prob": pa.array(scores.log_prob.sum(axis=1)),
            "anomaly_score": pa.array(anomaly_score),
            "uncertainty": array_or_nulls(scores.uncertainty, rows, pa.float64()),
            "p_value": array_or_nulls(p_value, rows, pa.float64()),
            "q_value": pa.nulls(rows, pa.float64()),
            "severity": array_or_nulls(severity, rows, pa.float64()),
            "is_anomaly": pa.nulls(rows, pa.bool_()),
            "explanation": pa.nulls(rows, EXPLANATION),
        }
        if options.column_log_prob:
            columns = [pa.array(column) for column in scores.log_prob.T]
            fields["column_log_prob"] = pa.StructArray.from_arrays(
                columns, self.density.columns
            )
            if self.density.sequences:
                fields["place_log_prob"] = place_log_prob(self.density, scores)
        return fields

    def explain_rows(self, table: pa.Table, selected: NDArray[np.bool_]) -> pa.Array:
        """Explain selected rows of a table.

        The network sees the selected rows only, batched together, which is many times
        cheaper than explaining a few rows of each batch.

        Args:
            table: The rows, n.
            selected: Rows to explain, (n,).

        Returns:
            Explanations (n,), null where a row is not selected.
        """
        if not selected.any():
            return pa.nulls(len(table), EXPLANATION)
        density, options = self.density, self.options
        chosen = table.filter(pa.array(selected))
        parts = [pa.array([], EXPLANATION)]
        for rows, encoded in density.batches(chosen, options.missing):
            scores = density.score_batch(encoded, options.statistic, options.precision)
            parts.append(self._explain(rows, encoded, scores))
        places = np.cumsum(selected) - 1
        return pa.concat_arrays(parts).take(pa.array(places, mask=~selected))

    def _explain(self, rows: pa.Table, encoded: Encoded, scores: Scores) -> pa.Array:
        return explain(
            self.density.encoder,
            self.density.model,
            rows,
            encoded,
            scores,
            columns=self.options.explain_columns,
        )


def output_schema(
    columns: Sequence[str] | None = None, sequences: Sequence[str] = ()
) -> pa.Schema:
    """Return the Arrow schema of scored rows.

    Args:
        columns: Names of the modelled columns if their log-probabilities are added.
        sequences: Names of those that are sequences, for which those of places are
            added too.
    """
    fields = [
        ("log_prob", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("uncertainty", pa.float64()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("severity", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("explanation", EXPLANATION),
    ]
    if columns is not None:
        numbers = [(name, pa.float64()) for name in columns]
        fields.append(("column_log_prob", pa.struct(numbers)))
        if sequences:
            lists = [(name, pa.list_(pa.float64())) for name in sequences]
            fields.append(("place_log_prob", pa.struct(lists)))
    return pa.schema(fields)


def place_log_prob(density: TableDensity, scores: Scores) -> pa.Array:
    """Return the log-probability of each place of each sequence, a struct of lists."""
    lists = []
    for j, column in enumerate(density.encoder.columns):
        if isinstance(column, ListColumn) and not column.shape:
            span, shape = density.encoder.span(j), (column.places, column.width)
            own = slice(span.start + column.first, span.stop)
            present = ~scores.x[:, own].unflatten(1, shape).isnan().all(-1)
            occupied = present.cpu().numpy()
            sums = scores.network[:, own].unflatten(1, shape).sum(-1)
            ends = np.concatenate([[0], occupied.sum(axis=1).cumsum()])
            values = pa.array(sums.double().cpu().numpy()[occupied])
            lists.append(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values))
    return pa.StructArray.from_arrays(lists, density.sequences)


def replace_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Replace the values of one column of a table."""
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values)
