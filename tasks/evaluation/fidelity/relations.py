"""Rules of pairs of columns: equality, order, and combinations of values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.tables import arrow
from tasks.evaluation.fidelity.findings import Finding, Mask, StackedRows
from tasks.evaluation.fidelity.tables import column_pairs
from tasks.reports.column_values import to_numbers

DISTINCT = 64
"""Maximum number of distinct training values whose combinations are checked."""

WIDTH = DISTINCT + 1
"""Number of states of a column: values or signs, and what no training row has."""

MIN_ROWS = 20
"""Minimum number of rows in which two columns are compared."""

MIN_KNOWN = 0.5
"""Minimum share of held-out rows with a value that determines another column's."""

MIN_SHARE = 0.99
"""Smallest share of training rows in which two columns must be equal or ordered."""

MAX_CHANCE = 0.98
"""Largest share of shuffled rows in which such columns may be equal or ordered."""

SCREENED = 2000
"""Number of training rows that preselect the pairs which are compared in full."""

COMPARISONS = (
    ("equality", "=", np.equal),
    ("order", "<=", np.less_equal),
    ("order", ">=", np.greater_equal),
)

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class States:
    """A column encoded for the comparison with other columns.

    Attributes:
        name: Name of the column.
        label: What its states are, for the text of a rule.
        codes: Codes of its distinct values, 0 for null, (rows,).
        states: Values if they are few, else null and signs, below `WIDTH`, (rows,).
        numbers: Its values if they are numbers or times, NaN for null, (rows,).
        kind: Kind of columns with which its numbers are comparable.
    """

    name: str
    label: str
    codes: Codes
    states: Codes
    numbers: Floats | None
    kind: str


def check_relations(rows: StackedRows) -> Iterator[tuple[Finding, Mask]]:
    """Yield the rules of pairs of columns that synthetic rows violate, and where.

    Args:
        rows: The compared rows.
    """
    states = {}
    for name in rows.table.column_names:
        states[name] = encode_states(name, rows.table[name], rows.train)
    order = np.random.default_rng(0).permutation(rows.train.stop)[:SCREENED]
    for a, b in column_pairs(rows.table.column_names):
        left, right = states[a], states[b]
        dependence = _dependence(left, right, rows)
        for rule in (
            dependence or _combinations(left, right, rows.train),
            _comparison(left, right, rows.train, order),
        ):
            if rule is None:
                continue
            check, text, wrong = rule
            finding = rows.violation(check, (a, b), text, wrong)
            if finding is not None:
                yield finding, wrong


def encode_states(name: str, column: pa.ChunkedArray, train: slice) -> States:
    """Encode a column for the comparison with other columns.

    Args:
        name: Name of the column.
        column: Its cells.
        train: Places of the training rows.
    """
    indices = arrow.dictionary_encoded(column).indices
    codes = np.asarray(pc.add(indices, 1).fill_null(0)).astype(np.int64)
    known = np.unique(codes[train])
    numbers = to_numbers(column)
    temporal = pa.types.is_temporal(column.type)
    kind = str(column.type) if temporal else "number"
    if len(known) <= DISTINCT:
        states = np.full(codes.max(initial=0) + 1, DISTINCT)
        states[known] = np.arange(len(known))
        return States(name, name, codes, states[codes], numbers, kind)
    if numbers is None or temporal:
        label, states = f"whether {name} is null", (codes > 0).astype(np.int64)
    else:
        label = f"the sign of {name}"
        states = np.where(codes > 0, np.sign(np.nan_to_num(numbers)) + 2, 0)
    return States(name, label, codes, states.astype(np.int64), numbers, kind)


def _dependence(
    left: States, right: States, rows: StackedRows
) -> tuple[str, str, Mask] | None:
    """Return the functional dependence of two columns in held-out rows, if any.

    The value of a column in the last training row with some value of another column is
    the expected one.
    """
    for a, b in ((left, right), (right, left)):
        expected = np.full(a.codes.max(initial=0) + 1, -1)
        expected[a.codes[rows.train]] = b.codes[rows.train]
        expected = expected[a.codes]
        known = expected >= 0
        wrong = known & (expected != b.codes)
        held_out = known[rows.held_out]
        if (
            held_out.mean() >= MIN_KNOWN
            and wrong[rows.held_out].sum() <= (1 - MIN_SHARE) * held_out.sum()
            and len(np.unique(expected[rows.held_out][held_out])) > 1
        ):
            return "dependence", f"{a.name} determines {b.name}", wrong
    return None


def _combinations(
    left: States, right: States, train: slice
) -> tuple[str, str, Mask] | None:
    """Return the rule that combinations of states occur in training rows."""
    pairs = left.states * WIDTH + right.states
    counts = np.bincount(pairs[train], minlength=WIDTH**2).reshape(WIDTH, WIDTH)
    possible = np.outer(counts.any(axis=1), counts.any(axis=0))
    impossible = possible & (counts == 0)
    if not impossible.any():
        return None
    rule = f"combinations of {left.label} and {right.label} that occur"
    return "combination", rule, impossible.ravel()[pairs]


def _comparison(
    left: States, right: States, train: slice, order: Codes
) -> tuple[str, str, Mask] | None:
    """Return the equality or order of two columns that nearly all training rows keep.

    Args:
        left: The first column.
        right: The second column.
        train: Places of the training rows.
        order: Random training rows for a preselection and for comparisons by chance.
    """
    x, y = left.numbers, right.numbers
    if x is None or y is None or left.kind != right.kind:
        return None
    both = ~np.isnan(x[order]) & ~np.isnan(y[order])
    a, b = x[order][both], y[order][both]
    if len(a) < MIN_ROWS:
        return None
    for check, symbol, holds in COMPARISONS:
        by_chance = holds(a, np.roll(b, len(b) // 2)).mean()
        if holds(a, b).mean() < MIN_SHARE - 0.01 or by_chance > MAX_CHANCE:
            continue
        known = ~np.isnan(x) & ~np.isnan(y)
        wrong = known & ~holds(x, y)
        if wrong[train].sum() <= (1 - MIN_SHARE) * known[train].sum():
            return check, f"{left.name} {symbol} {right.name}", wrong
    return None
