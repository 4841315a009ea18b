"""Predictions of a model for the rows that the gate compares."""

import logging
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from tasks.evaluation import distances, transforms
from tasks.evaluation.comparable import Comparable
from tasks.evaluation.intervals import Floats
from tasks.runtime import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """Log-probabilities, anomaly scores and calibration of a model on n rows.

    Attributes:
        columns: Log-probability of each column, (n, columns), in nats and in units that
            are comparable with those of the other model.
        scores: Anomaly scores, (n,), in nats.
        p_values: P-values of the rows, (n,), or None without calibration rows.
        ks: For each column, the Kolmogorov-Smirnov distance of its probability integral
            transforms from uniform.
    """

    columns: Floats
    scores: Floats
    p_values: Floats | None
    ks: dict[str, float] = field(default_factory=dict)

    @cached_property
    def log_prob(self) -> Floats:
        """Log-probability of each row, (n,), in nats."""
        return np.asarray(self.columns.sum(axis=1))


def predict(view: Comparable, table: pa.Table, who: str) -> Predictions:
    """Score the rows of a table with a model.

    Args:
        view: The model, comparable with the other one.
        table: The rows.
        who: Name of the model in progress reports, such as "champion".
    """
    density = view.density
    rng = np.random.default_rng(0)
    columns, scores, counts = [], [], []
    done = 0
    for rows, encoded in density.batches(table):
        batch = density.score_batch(encoded)
        columns.append(
            view.column_log_prob(rows, encoded)
            if view.adjusted_columns
            else batch.log_prob
        )
        scores.append(batch.anomaly_score)
        u = transforms.integral_transforms(
            batch.conditionals,
            batch.x,
            density.encoder.variables,
            rng.random(batch.log_prob.shape),
        )
        in_support = encoded.out_of_support == 0
        counts.append(
            [
                transforms.count_in_bins(values[inside], transforms.BINS)
                for values, inside in zip(u.T, in_support.T, strict=True)
            ]
        )
        done += rows.num_rows
        progress.report(logger, f"gate: rows by the {who}", done, table.num_rows)
    total = np.sum(counts, axis=0)
    all_scores = np.concatenate(scores)
    reference = density.ranking()
    return Predictions(
        columns=np.concatenate(columns),
        scores=all_scores,
        p_values=None if reference is None else reference.rank(all_scores)[0],
        ks={
            name: distances.binned_ks_from_uniform(bins)
            for name, bins in zip(density.columns, total, strict=True)
        },
    )
