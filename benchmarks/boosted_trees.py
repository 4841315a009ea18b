"""A chain of boosted trees: the likelihood of each column given those before it.

Each column is predicted from the columns before it by scikit-learn's histogram gradient
boosting. Columns of more than `CLASSES` values are numbers, or rare categories merged:
the trees predict one of as many classes with about equally many training rows. Within a
class a value has its frequency, smoothed over the grid on which the values lie.

Reference:
    Witten, Bell, The zero-frequency problem: estimating the probabilities of novel
    events in adaptive text compression, 1991 (the smoothing).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from ar_models.tables import arrow
from ar_models.tables.formulas.numbers import NUMERIC, numbers

CLASSES = 32
"""Maximum number of classes that the trees predict."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def chain_log_probs(
    train: pa.Table, test: pa.Table, order: Sequence[str], steps: Mapping[str, float]
) -> dict[str, Floats]:
    """Return the log-probability of cells of test rows given the columns before them.

    Args:
        train: Rows to learn from.
        test: Rows to judge, n.
        order: Names of all columns, in the order in which they are taken.
        steps: Distance of neighbouring values of the columns to predict; 0 for
            categories, of which those of the rows are known.

    Returns:
        For each of these, nats (n,), of a mass for each value.
    """
    both = pa.concat_tables([train.select(order), test.select(order)])
    known = slice(0, len(train))
    features: list[Floats] = []
    found = {}
    for name in order:
        codes, values = encoded(both.column(name))
        if name in steps:
            x = np.stack(features, axis=1) if features else np.zeros((len(both), 1))
            cells = _points(codes, values, steps[name])
            found[name] = _log_probs(x, codes, known, cells)
        features.append(values)
    return found


def encoded(column: pa.ChunkedArray) -> tuple[Integers, Floats]:
    """Return numbers of the distinct values of cells, and the cells as a feature.

    Numbers of values ascend; that of null is the greatest. A category that is not a
    number has the number of its value as its feature, NaN for null.
    """
    array = arrow.flat(column)
    if arrow.family(array.type) in NUMERIC:
        values = numbers(array)
        keys = np.where(np.isnan(values), np.inf, values)
    else:
        texts = array.cast(pa.string()).to_pylist()
        keys = np.array(["1" + text if text is not None else "2" for text in texts])
    codes = np.unique(keys, return_inverse=True)[1].ravel().astype(np.int64)
    if arrow.family(array.type) not in NUMERIC:
        null = np.asarray(array.is_null())
        values = np.where(null, np.nan, codes.astype(np.float64))
    return codes, values


def _log_probs(x: Floats, codes: Integers, known: slice, points: Floats) -> Floats:
    """Return the log-probabilities of the test cells, given features, in nats.

    Args:
        x: Features of the training rows and of the test rows after them.
        codes: Numbers of the values, likewise.
        known: Places of the training rows.
        points: Number of values of the grid that are nearest to each value.
    """
    rows, values = known.stop, int(codes.max()) + 1
    counts = np.bincount(codes[known], minlength=values)
    classes = _classes(counts)
    target = classes[codes]
    weight = 1 / (rows + 2)
    shares = np.bincount(target[known], minlength=classes.max() + 1) / rows
    proba = np.tile(shares, (len(codes) - rows, 1))
    seen = np.unique(target[known])
    if len(seen) > 1:
        trees = HistGradientBoostingClassifier(early_stopping=True, random_state=0)
        trees.fit(x[known], target[known])
        predicted = trees.predict_proba(x[rows:])
        proba = weight * np.tile((shares + 1 / len(shares)) / 2, (len(proba), 1))
        proba[:, trees.classes_] += (1 - weight) * predicted
    own = target[rows:]
    among = proba[np.arange(len(own)), own]
    return np.asarray(
        np.log(among) + np.log(_within(counts, classes, points))[codes[rows:]]
    )


def _classes(counts: Integers) -> Integers:
    """Return the class of each value, of about equally many rows each."""
    if len(counts) <= CLASSES:
        return np.arange(len(counts))
    reached = (np.cumsum(counts) - counts / 2) / counts.sum()
    ranks = np.minimum((reached * CLASSES).astype(np.int64), CLASSES - 1)
    return np.asarray(np.unique(ranks, return_inverse=True)[1].ravel(), np.int64)


def _points(codes: Integers, values: Floats, step: float) -> Floats:
    """Return how many values of a grid are nearest to each distinct value.

    Args:
        codes: Numbers of the values of cells.
        values: The cells as numbers, NaN where missing.
        step: Distance of neighbouring values of the grid; 0: there is no grid.
    """
    points = np.ones(int(codes.max()) + 1)
    known = np.unique(values[~np.isnan(values)])
    if step and len(known) > CLASSES:
        middles = (known[1:] + known[:-1]) / 2
        ends = known[0] - step / 2, known[-1] + step / 2
        widths = np.diff(np.concatenate([ends[:1], middles, ends[1:]]))
        points[: len(known)] = np.maximum(widths / step, 1)
    return points


def _within(counts: Integers, classes: Integers, points: Floats) -> Floats:
    """Return the smoothed share of each value in the rows of its class."""
    sizes = np.bincount(classes, points)
    total = np.bincount(classes, counts)[classes]
    distinct = np.bincount(classes, counts > 0)[classes]
    smooth = distinct / sizes[classes]
    alone = np.bincount(classes)[classes] == 1
    share = (counts + smooth) / np.maximum(total + distinct, 1)
    return np.where(alone, 1.0, np.where(total == 0, 1 / sizes[classes], share))
