"""The second pass of a scoring job: q-values, anomalies and their explanations."""

import numpy as np
import pyarrow as pa

from ar_models.density.scorer import Scorer, replace_column
from ar_models.scoring.conformal import array_or_nulls
from tasks.data.fragments import Fragment
from tasks.inference.scoring_plan import ScoringPlan, read_part, score_options
from tasks.inference.selection import AnomalySelection
from tasks.runtime import parts, storage
from tasks.runtime.model_store import load


class SecondPass:
    """Function that completes the parts of the first pass.

    The model is loaded only if rows remain to be explained.

    Args:
        plan: The job.
        selection: Which rows are anomalies, from the scores of all rows.
    """

    def __init__(self, plan: ScoringPlan, selection: AnomalySelection) -> None:
        self.plan = plan
        self.selection = selection
        self.scorer: Scorer | None = None

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the final part of a fragment and return its metadata."""
        name = parts.file_name(fragment.index)
        scored, metadata = read_part(storage.join(self.plan.first_pass, name))
        rows = scored.num_rows
        anomalies = self.selection.is_anomaly(scored, fragment.index)
        q_value = self.selection.q_value(scored["p_value"].to_numpy())
        scored = replace_column(
            scored, "q_value", array_or_nulls(q_value, rows, pa.float64())
        )
        scored = replace_column(
            scored, "is_anomaly", array_or_nulls(anomalies, rows, pa.bool_())
        )
        quarantine = {
            file: read_part(storage.join(self.plan.first_pass, file))
            for file in metadata["companions"]
        }
        if self.plan.explains_afterwards and anomalies is not None and anomalies.any():
            scored_rows = np.arange(fragment.rows)
            for table, _ in quarantine.values():
                bad = table["row"].to_numpy() - fragment.first
                scored_rows = np.setdiff1d(scored_rows, bad)
            reasons = self.explain(fragment, anomalies, scored_rows)
            scored = replace_column(scored, "explanation", reasons)
        metadata["anomalies"] = 0 if anomalies is None else int(anomalies.sum())
        for row in metadata["most_anomalous"]:
            value = self.selection.q_value(np.array(row["p_value"]))
            row["q_value"] = None if value is None else float(value)
        files = [
            parts.write(self.plan.path, file, table, about)
            for file, (table, about) in quarantine.items()
        ]
        entry = parts.write(self.plan.path, name, scored, metadata)
        return {**metadata, "files": [entry, *files]}

    def explain(
        self, fragment: Fragment, anomalies: np.ndarray, scored_rows: np.ndarray
    ) -> pa.Array:
        """Return explanations of the anomalies of a part, null elsewhere.

        Args:
            fragment: Where the rows come from.
            anomalies: Which rows of the part are anomalies, (rows,).
            scored_rows: Positions of the part's rows in the fragment, (rows,).
        """
        if self.scorer is None:
            options = score_options(self.plan.config)
            self.scorer = Scorer(load(self.plan.model), options)
        table = self.plan.read(self.scorer.density, fragment)
        return self.scorer.explain_rows(table.take(pa.array(scored_rows)), anomalies)
