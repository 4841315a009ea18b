"""The first pass of a scoring job: the model's figures for every row by itself."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.density.scorer import Scorer, replace_column
from ar_models.tables.arrow import python_values
from tasks.data.fragments import Fragment
from tasks.inference import selection
from tasks.inference.quarantine import (
    quarantine_table,
    unreadable_rows,
    with_places,
    write_part,
)
from tasks.inference.scoring_plan import ScoringPlan, rule_of, score_options
from tasks.runtime import parts
from tasks.runtime.model_store import load

MOST_ANOMALOUS = 5
"""Number of rows that a manifest describes, those with the smallest p-values."""


class FirstPass:
    """Function that scores fragments; each Ray actor makes one and loads the model.

    Args:
        plan: The job.
    """

    def __init__(self, plan: ScoringPlan) -> None:
        self.plan = plan
        self.config = plan.config
        self.scorer = Scorer(load(plan.model), score_options(plan.config))

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the scores of a fragment and return the part's metadata."""
        names, rows = list(self.plan.carried), np.arange(0)
        try:
            table = self.plan.read(self.scorer.density, fragment)
        except pa.ArrowInvalid as error:
            self.plan.source.check_bad_file(error)
            table = fragment.schema.empty_table()
            scored = self.scorer.score_rows(table)
            bad = unreadable_rows(fragment, names, str(error))
        else:
            rows = np.arange(table.num_rows)
            scored = self.explain(table, self.scorer.score_rows(table))
            finite = pc.and_(
                pc.is_finite(scored["log_prob"]), pc.is_finite(scored["anomaly_score"])
            )
            bad = not_finite(fragment, table.select(names), scored, finite)
            rows = rows[finite.to_numpy()]
            if bad.num_rows:
                table, scored = table.filter(finite), scored.filter(finite)
        carried = table.select(names)
        if self.plan.source.adds_place:
            carried = with_places(carried, fragment, rows)
        return write_part(
            self.plan.first_pass,
            fragment,
            carried,
            scored,
            bad,
            self.plan.metadata,
            # Read again soon and deleted: quick to compress matters more than small.
            compression="lz4",
            most_anomalous=self.most_anomalous(fragment, table, scored),
        )

    def explain(self, table: pa.Table, scored: pa.Table) -> pa.Table:
        """Add explanations of the anomalies, where a threshold tells which they are."""
        rule = rule_of(self.config)
        if self.config.explain != "flagged" or rule.kind != "threshold":
            return scored
        anomalies = scored["severity"].to_numpy() >= rule.value
        reasons = self.scorer.explain_rows(table, anomalies)
        return replace_column(scored, "explanation", reasons)

    def most_anomalous(
        self, fragment: Fragment, table: pa.Table, scored: pa.Table
    ) -> list[dict[str, Any]]:
        """Return the most anomalous rows of a fragment, explained, JSON-able.

        They are explained even where the output has no explanations.
        """
        p_value = selection.p_values(scored)
        order = np.lexsort([-scored["anomaly_score"].to_numpy(), p_value])
        rows = pa.array(order[:MOST_ANOMALOUS])
        every_row = np.ones(len(rows), dtype=bool)
        explanations = self.scorer.explain_rows(table.take(rows), every_row)
        reasons = explanations.to_pylist()
        names = ["log_prob", "anomaly_score", "p_value", "severity"]
        numbers = scored.select(names).take(rows).to_pylist()
        source = self.plan.source
        named = source.id_columns if source.copies_all else self.plan.carried
        ids = {name: python_values(table[name].take(rows)) for name in named}
        return [
            {
                "source": fragment.name,
                "row": fragment.first + row,
                "ids": {name: json_value(values[k]) for name, values in ids.items()},
                **numbers[k],
                "explanation": reasons[k],
            }
            for k, row in enumerate(rows.to_pylist())
        ]


def not_finite(
    fragment: Fragment, carried: pa.Table, scored: pa.Table, finite: pa.ChunkedArray
) -> pa.Table:
    """Return the quarantine table of the rows whose score is not a finite number.

    Args:
        fragment: Where the rows come from.
        carried: The rows' id and partition columns.
        scored: The rows' scores.
        finite: Whether each row's scores are finite.
    """
    bad = pc.invert(finite)
    reasons = [
        f"log_prob is {row['log_prob']}, anomaly_score is {row['anomaly_score']}"
        for row in scored.select(["log_prob", "anomaly_score"]).filter(bad).to_pylist()
    ]
    rows = np.flatnonzero(bad.to_numpy())
    return quarantine_table(fragment, carried.filter(bad), rows, reasons)


def json_value(value: object) -> object:
    """Return a cell's value as JSON can hold it."""
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
