"""Figures of an evaluation: gains, calibration, scores, detection, learning."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tasks.reports.figures import (
    BARS,
    BLUE,
    GREY,
    GRID_COLOUR,
    MAX_COLUMNS,
    ORANGE,
    Floats,
    draw_axes,
    draw_differences,
    draw_panels,
    shorten,
)

CURVE_POINTS = 2000
"""Maximum number of points of a drawn ROC or precision-recall curve."""

Json = Mapping[str, Any]


def draw_gains(columns: Sequence[Json]) -> Figure:
    """Draw the gain of each column over independent columns, with intervals."""
    shown = sorted(columns, key=lambda column: -column["gain"])[:MAX_COLUMNS]
    return draw_differences(
        shown, "gain", "gain over independent columns, nats per row"
    )


def draw_calibration(columns: Sequence[Json]) -> Figure:
    """Draw histograms of each column's probability integral transform.

    Args:
        columns: The columns of an evaluation: `name`, `pit` (counts in equal bins) and
            `ks`, by which they are ranked.
    """
    ranked = sorted(columns, key=lambda column: -column["ks"])[:MAX_COLUMNS]
    figure, panels = draw_panels(len(ranked), height=1.25)
    for axes, column in zip(panels, ranked, strict=False):
        counts = np.array(column["pit"], dtype=float)
        density = counts / max(counts.sum(), 1) * len(counts)
        edges = np.linspace(0, 1, len(counts) + 1)
        axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.85)
        axes.axhline(1, color=ORANGE, linewidth=1)
        axes.set_title(f"{shorten(column['name'], 20)}  {column['ks']:.3f}")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(2, 1.1 * float(density.max())))
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.set_yticks([0, 1])
    return figure


def draw_scores(
    scores: Floats, threshold: float | None = None, rule: str = ""
) -> Figure:
    """Draw the distribution of the test rows' anomaly scores.

    Args:
        scores: Anomaly scores, (n,), nats.
        threshold: Score from which a row is flagged as an anomaly, if any row is.
        rule: The rule that gives the threshold, as a label.
    """
    figure, axes = draw_axes(7, 2.6)
    axes.hist(scores, bins=80, color=BLUE, log=True)
    axes.set_xlabel("anomaly score, nats")
    axes.set_ylabel("number of test rows")
    if threshold is not None:
        axes.axvline(threshold, color=ORANGE, linewidth=1.4)
        axes.annotate(
            rule,
            (threshold, 0.95),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            color=ORANGE,
            va="top",
        )
    return figure


def draw_p_values(p_values: Floats) -> Figure:
    """Draw the distribution of the test rows' p-values, (n,), beside uniform."""
    figure, axes = draw_axes(7, 2.4)
    counts, edges = np.histogram(p_values, bins=BARS, range=(0, 1))
    density = counts / len(p_values) * BARS
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.85)
    axes.axhline(1, color=ORANGE, linewidth=1.2, label="uniform")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1.5, 1.1 * float(density.max())))
    axes.set_xlabel("p-value of test rows with respect to calibration rows")
    axes.set_ylabel("density")
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none")
    return figure


def draw_detection(scores: Floats, labels: NDArray[np.bool_]) -> Figure:
    """Draw the ROC curve and the precision-recall curve of anomaly scores.

    Args:
        scores: Anomaly scores, (n,).
        labels: Whether each row is an anomaly, (n,), with rows of both kinds.
    """
    hits = labels[np.argsort(-scores, kind="stable")].cumsum()
    flagged = np.arange(1, len(hits) + 1)
    recall = hits / hits[-1]
    false_positives = (flagged - hits) / (len(hits) - hits[-1])
    points = np.unique(np.linspace(0, len(hits) - 1, CURVE_POINTS).astype(int))
    figure = Figure(figsize=(7, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, *false_positives[points]], [0, *recall[points]], color=BLUE)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    left.set_xlabel("false positive rate")
    left.set_ylabel("true positive rate")
    right.plot(recall[points], (hits / flagged)[points], color=BLUE)
    right.axhline(hits[-1] / len(hits), color=GREY, linewidth=1)
    right.set_xlabel("recall")
    right.set_ylabel("precision")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
    return figure


def draw_learning_curve(history: Sequence[Json]) -> Figure:
    """Draw the NLL of training and validation rows by epoch, and the best epoch.

    Args:
        history: `epoch`, `train_nll` and `valid_nll` (nats per row) of each epoch.
    """
    figure, axes = draw_axes(7, 2.8)
    epochs = [record["epoch"] for record in history]
    train = [record["train_nll"] for record in history]
    valid = [record["valid_nll"] for record in history]
    axes.plot(epochs, train, color=GREY, label="training rows", lw=1.6)
    axes.plot(
        epochs, valid, color=BLUE, label="validation rows", lw=1.8, marker="o", ms=3
    )
    best = int(np.argmin(valid))
    axes.plot(epochs[best], valid[best], "o", color=ORANGE, ms=7, label="best epoch")
    axes.set_xlabel("epoch")
    axes.set_ylabel("NLL, nats per row")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.7)
    axes.legend()
    return figure
