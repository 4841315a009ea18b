"""Measures of how well anomaly scores detect labelled anomalies."""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.evaluation.intervals import Floats, bootstrap_interval
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from sklearn import metrics
else:  # It takes seconds to import, and most datasets have no labels.
    metrics = DeferredModule("sklearn.metrics")

Bools = NDArray[np.bool_]
Json = dict[str, Any]  # JSON values


def detection(
    scores: Floats,
    labels: pa.ChunkedArray,
    budget: float,
    *,
    confidence: float,
    resamples: int,
) -> Json:
    """Measure how well anomaly scores detect labelled anomalies.

    Args:
        scores: Anomaly scores, (n,); larger is more anomalous.
        labels: Whether each row is an anomaly, (n,); rows with null are left out.
        budget: Number of most anomalous rows, or their share if below 1, of which
            precision and recall are computed.
        confidence: Confidence of the intervals.
        resamples: Number of bootstrap resamples of an interval.

    Returns:
        `rows` and `positives` (numbers of rows and of anomalies), `auroc`, `auprc`
        (average precision), `budget` (number of rows), `precision`, `recall`, and
        intervals of AUROC and precision; None where a class has no rows.
    """
    known = labels.is_valid().to_numpy()
    truth = pc.fill_null(labels, False).to_numpy(zero_copy_only=False).astype(bool)
    truth, scores = truth[known], scores[known]
    positives = int(truth.sum())
    count = int(budget * len(truth)) if budget < 1 else min(int(budget), len(truth))
    # scikit-learn refuses infinite scores.
    finite = np.nan_to_num(scores)
    both = 0 < positives < len(truth)
    flagged = truth[np.argsort(-scores, kind="stable")[:count]]
    return {
        "rows": len(truth),
        "positives": positives,
        "budget": count,
        "auroc": float(metrics.roc_auc_score(truth, finite)) if both else None,
        "auroc_interval": auroc_interval(scores, truth, confidence) if both else None,
        "auprc": float(metrics.average_precision_score(truth, finite))
        if both
        else None,
        "precision": int(flagged.sum()) / count if count else None,
        "precision_interval": bootstrap_interval(
            flagged.astype(float), confidence, resamples
        )
        if count
        else None,
        "recall": int(flagged.sum()) / positives if positives else None,
    }


def auroc_interval(
    scores: Floats, truth: Bools, confidence: float
) -> tuple[float, float]:
    """Return DeLong's normal confidence interval of the AUROC, clipped to [0, 1].

    Args:
        scores: Anomaly scores, (n,).
        truth: Whether each row is an anomaly, (n,), with rows of both kinds.
        confidence: Probability with which the interval covers the AUROC.

    Reference:
        DeLong, DeLong, Clarke-Pearson, Comparing the areas under two or more
        correlated receiver operating characteristic curves, 1988.
        https://doi.org/10.2307/2531595
    """
    placements = (
        _placements(scores[truth], scores[~truth]),
        _placements(-scores[~truth], -scores[truth]),
    )
    variance = sum(
        part.var(ddof=1) / len(part) if len(part) > 1 else 0.25 for part in placements
    )
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    auroc = float(placements[0].mean())
    return max(0.0, auroc - half), min(1.0, auroc + half)


def _placements(scores: Floats, others: Floats) -> Floats:
    """Return the share of others below each score; ties count half."""
    ranked = np.sort(others)
    below = np.searchsorted(ranked, scores, side="left")
    at_most = np.searchsorted(ranked, scores, side="right")
    return np.asarray((below + at_most) / 2 / len(ranked))
