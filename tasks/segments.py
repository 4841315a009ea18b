"""Figures by segment, and how well scores find labelled rows."""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models import cells
from tasks.intervals import interval

SEGMENT = "segment:"
"""Prefix of the names under which parts hold the segments of rows."""

LABEL = "label"

MISSING, OTHERS = "missing", "(others)"

SHOWN = 50
"""Segments of a column that are told apart, the largest; the rest are one."""

MOST = 10_000
"""Distinct values of a column that can be segments."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Json = dict[str, Any]  # JSON-able values


def check(schema: pa.Schema, segments: Sequence[str], label: str | None) -> None:
    """Raises ValueError where rows of a schema cannot be judged by these columns.

    Args:
        schema: Of the rows.
        segments: Columns whose values are segments.
        label: Column that says which rows are anomalies.
    """
    for key, columns in (
        ("evaluate.segments", segments),
        ("evaluate.label", [label] if label else []),
    ):
        for column in columns:
            if column not in schema.names:
                raise ValueError(
                    f"{key}: the rows have no column {column!r}; they have "
                    f"{schema.names!r}; a column under data.exclude is not kept, one "
                    "under data.id is"
                )
    for column in segments:
        if cells.family(schema.field(column).type) in (None, "real", "bytes"):
            raise ValueError(
                f"evaluate.segments: column {column!r} is "
                f"{schema.field(column).type}, whose values are no segments; name a "
                "column of text, bools, integers or dates"
            )
    if label:
        family = cells.family(schema.field(label).type)
        if family not in ("bool", "integer", "real", "decimal"):
            raise ValueError(
                f"evaluate.label: column {label!r} is {schema.field(label).type}; give "
                "a column of bools, or of numbers that are 0 for ordinary rows"
            )


def carried(
    table: pa.Table, segments: Sequence[str], label: str | None
) -> dict[str, pa.ChunkedArray]:
    """What a part keeps of rows: segments as text, and the label as a bool."""
    kept = {
        SEGMENT + name: pc.fill_null(text(table[name]), MISSING) for name in segments
    }
    if label:
        values = table[label]
        if not pa.types.is_boolean(values.type):
            values = pc.not_equal(values.cast(pa.float64()), 0.0)
        kept[LABEL] = values
    return kept


def text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string())


def members(rows: pa.Table, column: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The segments of a column and their rows, the largest first.

    Args:
        rows: With what `carried` gives.
        column: Its name.

    Raises:
        ValueError: There are too many values for segments.
    """
    coded = rows[SEGMENT + column].combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    names = coded.dictionary.to_pylist()
    if len(names) > MOST:
        raise ValueError(
            f"evaluate.segments: column {column!r} has {len(names)} values, which is "
            f"more than {MOST}; name a column with fewer"
        )
    codes = coded.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda k: (-counts[k], names[k]))
    for code in ranked[:SHOWN]:
        yield names[code], np.flatnonzero(codes == code)
    if len(names) > SHOWN:
        yield OTHERS, np.flatnonzero(np.isin(codes, ranked[SHOWN:]))


def detection(
    scores: Floats,
    labels: pa.ChunkedArray,
    budget: float,
    *,
    confidence: float,
    resamples: int,
) -> Json:
    """How well anomaly scores find the rows that a label calls anomalies.

    Args:
        scores: Of n rows, higher is stranger.
        labels: Whether each is an anomaly, (n,); rows with null do not count.
        budget: Rows that could be looked at, a number, or a share below 1.
        confidence: Of the intervals.
        resamples: Of an interval.

    Returns:
        rows and positives (how many), auroc, auprc (average precision), budget (in
        rows), precision and recall among the strangest so many; None where a class has
        no rows.
    """
    known = labels.is_valid().to_numpy()
    truth = pc.fill_null(labels, False).to_numpy(zero_copy_only=False).astype(bool)
    truth, scores = truth[known], scores[known]
    positives = int(truth.sum())
    count = int(budget * len(truth)) if budget < 1 else min(int(budget), len(truth))
    found: Json = {"rows": len(truth), "positives": positives, "budget": count}
    both = 0 < positives < len(truth)
    order = np.argsort(-scores, kind="stable")
    hits = int(truth[order[:count]].sum())
    return found | {
        "auroc": auroc(scores, truth) if both else None,
        "auroc_interval": auroc_interval(scores, truth, confidence) if both else None,
        "auprc": average_precision(scores, truth) if both else None,
        "precision": hits / count if count else None,
        "precision_interval": interval(
            truth[order[:count]].astype(np.float64), confidence, resamples
        )
        if count
        else None,
        "recall": hits / positives if positives else None,
    }


def auroc(scores: Floats, truth: Bools) -> float:
    """The chance that an anomaly has a higher score than another row; ties count half.

    Args:
        scores: (n,).
        truth: (n,), with rows of both kinds.
    """
    return float(placements(scores, truth)[0].mean())


def placements(scores: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """For anomalies the shares of other rows below them, and the other way round.

    Returns:
        One for each anomaly, and one for each other row: the share of anomalies above
        it. Ties count half.
    """
    found = []
    for mine, sign in ((truth, 1.0), (~truth, -1.0)):
        others = np.sort(sign * scores[~mine])
        own = sign * scores[mine]
        below = np.searchsorted(others, own, side="left")
        at_most = np.searchsorted(others, own, side="right")
        found.append((below + at_most) / 2 / len(others))
    return found[0], found[1]


def auroc_interval(
    scores: Floats, truth: Bools, confidence: float
) -> tuple[float, float]:
    """DeLong's normal interval of the AUROC, cut to [0, 1].

    Reference:
        DeLong, DeLong, Clarke-Pearson, Comparing the areas under two or more
        correlated receiver operating characteristic curves, 1988.
    """
    above, below = placements(scores, truth)
    variance = sum(
        part.var(ddof=1) / len(part) if len(part) > 1 else 0.25
        for part in (above, below)
    )
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    middle = float(above.mean())
    return max(0.0, middle - half), min(1.0, middle + half)


def average_precision(scores: Floats, truth: Bools) -> float:
    """The mean precision at the anomalies' ranks; tied rows share a rank, the last."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], truth[order].cumsum()
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision = hits[ends] / (ends + 1)
    gained = np.diff(hits[ends], prepend=0)
    return float((precision * gained).sum() / hits[-1])


def metric_name(text: str) -> str:
    """A column's name or a value as a step of a metric's name that MLflow takes."""
    kept = "".join(c if c.isalnum() or c in "_-. " else "_" for c in text)
    return kept if kept.strip(".") else f"_{kept}"
