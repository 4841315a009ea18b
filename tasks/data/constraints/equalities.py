"""Columns that equal another column, in nearly all rows or in some."""

from collections.abc import Iterator

import numpy as np

from ar_models.tables import arrow
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.numbers import NUMERIC
from tasks.data.constraints.candidate import Candidate, evaluate, is_exact, is_partial
from tasks.data.constraints.sample import Sample, SampledColumn

SCREENED_ROWS = 4000
"""Number of rows in which all pairs of columns are compared."""

MIN_COPIED = 0.04
"""Share of the code length that equal cells explain in these rows, at least."""


def equalities(sample: Sample) -> Iterator[Candidate]:
    """Find pairs of columns that are equal, with the copies in both directions."""
    for group in _comparable(sample):
        keys = np.stack([_keys(c, group) for c in group])[:, :SCREENED_ROWS]
        for at, target in enumerate(group):
            # Rows in which the target holds a frequent value tell little.
            weight = target.surprisal[:SCREENED_ROWS]
            same = keys == keys[at]
            shared = (same * weight).sum(axis=1) / max(weight.sum(), 1e-9)
            for other in np.flatnonzero(shared >= MIN_COPIED):
                if other == at:
                    continue
                candidate = evaluate(sample, target.name, Equality(group[other].name))
                if is_exact(candidate, target) or is_partial(candidate, target):
                    yield candidate


def _comparable(sample: Sample) -> Iterator[list[SampledColumn]]:
    """Iterate over the groups of columns whose values can be equal."""
    families = [
        ("text",),
        ("bytes",),
        ("bool", "integer", "decimal", "real"),
        ("date", "timestamp"),
        ("time", "duration"),
    ]
    for group in families:
        found = [
            c
            for c in sample.columns.values()
            if arrow.family(c.type) in group and c.distinct > 1
        ]
        if len(found) > 1:
            yield found


def _keys(column: SampledColumn, group: list[SampledColumn]) -> np.ndarray:
    """Return numbers that are equal where cells are, (n,) float64; null is -inf."""
    if column.family in NUMERIC:
        keys = column.numbers
        if column.family == "date" and any(c.family == "timestamp" for c in group):
            keys = keys * 86_400
    else:
        table = _word_hashes(column)
        keys = table[column.codes]
    return np.where(column.missing, -np.inf, keys)


def _word_hashes(column: SampledColumn) -> np.ndarray:
    """Return a number for each code of a column of words, equal for equal words."""
    first = np.zeros(len(column.counts), np.int64)
    first[column.codes] = np.arange(len(column.codes))
    words = column.array.take(first).to_pylist()
    hashed = [hash_of(word) for word in words]
    return np.array(hashed, np.float64)


def hash_of(word: str | bytes | None) -> int:
    """Return a hash of a word that is the same in every process."""
    data = word.encode() if isinstance(word, str) else (word or b"")
    total = 1469598103934665603
    for byte in data:
        total = ((total ^ byte) * 1099511628211) % 2**52
    return total
