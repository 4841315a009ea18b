"""Functional dependencies: columns that are a function of one or two others.

A dependency is judged by pairs of rows with the same key, as in HyFD: neighbours in the
order of the key agree in the determined column. The table of values holds the keys of
at least two rows; its rate is that of rows predicted from the others with their key.

Reference:
    Papenbrock and Naumann, A hybrid approach to functional dependency discovery, 2016.
    https://doi.org/10.1145/2882903.2915203
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ar_models.tables.formulas.keys import keys_of
from ar_models.tables.formulas.lookup_formula import MAX_ENTRIES, lookup_formula
from tasks.data.constraints.candidate import Candidate, gain_of, is_exact
from tasks.data.constraints.sample import Sample, SampledColumn

MIN_ROWS = 2
"""Rows of a key from which its value is known."""

SCREENED_AGREEMENT = 0.93
"""Share of the neighbours with the same key that agree, at least."""

SCREENED_ROWS = 4000
"""Number of rows in which keys of two columns are screened."""

MAX_KEY_COLUMNS = 40
"""Number of columns among which keys of two columns are searched."""

MIN_COVERED = 0.5
"""Share of the rows whose key is known, at least."""

MIN_REPEATS = 3.0
"""Rows per key, in the mean over keys."""

OFTEN = 20.0
"""Rows per key, in the mean, from which any exact dependency is used."""

MOST = 0.5
"""Share of the entropy of rarer keys that the determined column must have. A network
learns a column of less entropy, such as the state of a postcode, more easily by itself,
and then the postcodes of each state, than what else depends on each postcode."""


def dependencies(sample: Sample, ignored: Collection[str] = ()) -> Iterator[Candidate]:
    """Find columns that are a function of one other column, then of two.

    Args:
        sample: The sample.
        ignored: Columns for which an exact constraint is known, which are not
            looked for as functions of two columns.
    """
    targets = [c for c in sample.columns.values() if len(c.counts) > 1]
    if not targets:
        return
    table = np.stack([c.codes for c in targets])
    keys = [c for c in targets if _is_key(len(c.counts), c.distinct, sample.rows)]
    found: dict[str, set[str]] = {}
    for key in keys:
        for target in _agreeing(key.codes, targets, table, {key.name}):
            if not _is_worth_deriving(target, key.codes):
                continue
            candidate = lookup_candidate(sample, target, [key])
            if candidate is not None and is_exact(candidate, target):
                found.setdefault(target.name, set()).add(key.name)
                yield candidate
    done = {*ignored, *found}
    wanted = [c for c in targets if c.name not in done]
    yield from _of_two(sample, keys, wanted)


def _of_two(
    sample: Sample, keys: list[SampledColumn], targets: list[SampledColumn]
) -> Iterator[Candidate]:
    """Find columns that are a function of two others and of neither alone."""
    if not targets:
        return
    keys = sorted(keys, key=lambda c: (not c.is_text, c.distinct))[:MAX_KEY_COLUMNS]
    table = np.stack([c.codes[:SCREENED_ROWS] for c in targets])
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            both = a.codes * len(b.counts) + b.codes
            number = len(np.unique(both))
            if not _is_key(number, number, sample.rows) or number <= max(
                len(a.counts), len(b.counts)
            ):
                continue
            screened = both[:SCREENED_ROWS]
            for target in _agreeing(screened, targets, table, {a.name, b.name}):
                if not _is_worth_deriving(target, both):
                    continue
                candidate = lookup_candidate(sample, target, [a, b])
                if candidate is not None and is_exact(candidate, target):
                    yield candidate


def _is_worth_deriving(target: SampledColumn, codes: np.ndarray) -> bool:
    """Return whether a network would not learn a column better than its key.

    Args:
        target: The determined column.
        codes: Key of each row, (n,).
    """
    counts = np.unique(codes, return_counts=True)[1]
    if len(codes) >= OFTEN * len(counts):
        return True
    shares = counts / len(codes)
    return bool(target.entropy >= MOST * -(shares @ np.log(shares)))


def _is_key(number: int, distinct: int, rows: int) -> bool:
    """Return whether a number of keys of some rows is neither trivial nor too large."""
    return 2 <= distinct and number <= min(MAX_ENTRIES, rows / MIN_REPEATS)


def _agreeing(
    codes: np.ndarray,
    targets: list[SampledColumn],
    table: np.ndarray,
    without: set[str],
) -> Iterator[SampledColumn]:
    """Iterate over the targets that agree between neighbours with the same key.

    Args:
        codes: (n,) key of each row.
        targets: Columns that may be determined.
        table: (targets, n) their codes.
        without: Names of columns to leave out.
    """
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    same = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(same) < 100:
        return
    a, b = order[same], order[same + 1]
    for at, target in enumerate(targets):
        if target.name in without:
            continue
        left, right = table[at, a], table[at, b]
        equal = left == right
        if equal.mean() < SCREENED_AGREEMENT:
            continue
        # Pairs of the most frequent value agree by chance.
        mode = int(np.argmax(target.counts))
        told = ~(equal & (left == mode))
        if told.sum() >= 10 and equal[told].mean() >= SCREENED_AGREEMENT - 0.03:
            yield target


def lookup_candidate(
    sample: Sample,
    target: SampledColumn,
    keys: Sequence[SampledColumn],
    *,
    certain: bool = False,
) -> Candidate | None:
    """Return the candidate of a table from keys to values, or None without any.

    Its matches are those of rows whose value is predicted by the other rows with their
    key, so that a key of few rows counts for little.

    Args:
        sample: The sample.
        target: The determined column.
        keys: One or two determining columns.
        certain: Whether the table is wanted even if it saves nothing.
    """
    both = np.zeros(sample.rows, np.int64)
    for key in keys:
        both = both * len(key.counts) + key.codes
    _, first, place = np.unique(both, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    pairs, pair = np.unique(
        place * len(target.counts) + target.codes, return_inverse=True
    )
    pair = pair.reshape(-1)
    counts = np.bincount(pair)
    owner, value = np.divmod(pairs, len(target.counts))
    order = np.lexsort((value, -counts, owner))
    starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
    best = order[starts]
    second = np.zeros(len(best), np.int64)
    follows = np.r_[starts[1:], len(order)] - starts > 1
    second[follows] = counts[order[starts[follows] + 1]]
    total = np.bincount(owner, counts)
    known = (counts[best] >= MIN_ROWS) & (counts[best] > 0.5 * total)
    for key in keys:
        # NaN and infinities are not keys; null is one.
        known &= ~key.missing[first] | np.asarray(key.array.is_null())[first]
    if not known.any():
        return None
    # Leaving a row out takes one from the count of its own value.
    wins = counts[best][place] - 1 > second[place]
    matched = (pair == best[place]) & known[place] & wins
    defined = known[place] & (total[place] > 1)
    if known.sum() > MAX_ENTRIES or (defined.mean() < MIN_COVERED and not certain):
        return None
    at = first[known]
    values = np.zeros(len(target.counts), np.int64)
    values[target.codes] = np.arange(sample.rows)
    formula = lookup_formula(
        [key.name for key in keys],
        [keys_of(key.array.take(at)) for key in keys],
        keys_of(target.array.take(values[value[best[known]]])),
    )
    cost = known.sum() * np.log(max(2, target.distinct)) / sample.rows
    gain = gain_of(matched & defined, target) - cost
    candidate = Candidate(target.name, formula, matched & defined, defined, gain)
    return candidate if gain > 0 or certain else None
