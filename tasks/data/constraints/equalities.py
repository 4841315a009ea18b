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
        keys = _keys(group)[:, :SCREENED_ROWS]
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


def _keys(group: list[SampledColumn]) -> np.ndarray:
    """Return numbers that are equal where cells are, (columns, n); null is -inf."""
    places: dict[object, int] = {}  # of words, in all columns
    has_times = any(column.family == "timestamp" for column in group)
    keys = []
    for column in group:
        if column.family in NUMERIC:
            in_seconds = column.family == "date" and has_times
            own = column.numbers * (86_400 if in_seconds else 1)
        else:
            words = arrow.flat(column.array).to_pylist()
            own = np.array([places.setdefault(w, len(places)) for w in words], float)
        keys.append(np.where(column.missing, -np.inf, own))
    return np.stack(keys)
