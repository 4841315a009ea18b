"""Rules of real rows that synthetic rows violate clearly more often."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.evaluation.fidelity.tables import Tables
from tasks.reports.column_values import decode, to_numbers, to_strings

MAX_HELD_OUT = 0.01
"""Largest share of held-out rows that may violate a rule of real rows."""

MIN_DIFFERENCE = 0.001
"""Smallest reported difference between the shares of violating rows."""

MIN_RATIO = 2.0
"""Smallest reported ratio of the shares of violating synthetic and held-out rows."""

MIN_EVIDENCE = 30.0
"""Smallest reported likelihood-ratio statistic of two equal shares; p is near 4e-8."""

EXAMPLES = 3
"""Maximum number of examples of a violated rule."""

EXAMPLE_ROWS = 10_000
"""Maximum number of violating rows among which the most frequent examples are found."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule of real rows that synthetic rows violate clearly more often.

    Attributes:
        check: Kind of the rule, such as `decimals`.
        columns: The columns that it concerns.
        rule: What holds in nearly all training rows, as a phrase.
        synthetic: Share of the synthetic rows that violate it.
        held_out: Share of the held-out rows that violate it.
        examples: The most frequent violations, as text.
    """

    check: str
    columns: tuple[str, ...]
    rule: str
    synthetic: float
    held_out: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class StackedRows:
    """Training, held-out and synthetic rows in one table, in this order.

    Attributes:
        table: All rows, without dictionary or run-end encoding.
        train: Places of the training rows.
        held_out: Places of the held-out rows.
        synthetic: Places of the synthetic rows.
    """

    table: pa.Table
    train: slice
    held_out: slice
    synthetic: slice

    @classmethod
    def stack(cls, tables: Tables) -> Self:
        """Stack the rows of tables whose columns have types of the same family."""
        parts = (tables.train, tables.held_out, tables.synthetic)
        names = tables.train.column_names
        columns = [_concatenate([part[name] for part in parts]) for name in names]
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        slices = [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]
        return cls(pa.table(columns, names=names), *slices)

    def violation(
        self, check: str, columns: Sequence[str], rule: str, wrong: Mask
    ) -> Finding | None:
        """Return a finding if clearly more synthetic than held-out rows are wrong.

        Args:
            check: Kind of the rule.
            columns: The columns that it concerns.
            rule: What holds in nearly all training rows, as a phrase.
            wrong: Which of the stacked rows violate the rule, (rows,).
        """
        held_out, synthetic = wrong[self.held_out], wrong[self.synthetic]
        if not is_clearly_larger(synthetic, held_out):
            return None
        return Finding(
            check=check,
            columns=tuple(columns),
            rule=rule,
            synthetic=float(synthetic.mean()),
            held_out=float(held_out.mean()),
            examples=self._examples(columns, synthetic),
        )

    def _examples(self, columns: Sequence[str], wrong: Mask) -> tuple[str, ...]:
        """Return the most frequent values of columns in wrong synthetic rows."""
        places = self.synthetic.start + np.flatnonzero(wrong)[:EXAMPLE_ROWS]
        rows = self.table.select(list(columns)).take(pa.array(places))
        cells = [to_strings(column).to_pylist() for column in rows.columns]
        frequent = Counter(zip(*cells, strict=True)).most_common(EXAMPLES)
        shown = [["null" if v is None else v for v in values] for values, _ in frequent]
        if len(columns) == 1:
            return tuple(value for (value,) in shown)
        return tuple(
            ", ".join(f"{n} = {v}" for n, v in zip(columns, values, strict=True))
            for values in shown
        )


def is_clearly_larger(synthetic: Mask, held_out: Mask) -> bool:
    """Return whether synthetic rows violate a rule that real rows keep.

    The likelihood-ratio test of equal shares must reject, and the shares must differ by
    enough to matter.
    """
    share, reference = synthetic.mean(), held_out.mean()
    if (
        reference > MAX_HELD_OUT
        or share < reference + MIN_DIFFERENCE
        or share < MIN_RATIO * reference
    ):
        return False
    pooled = (synthetic.sum() + held_out.sum()) / (len(synthetic) + len(held_out))
    statistic = 2 * sum(
        len(rows) * (_divergence(own, pooled) + _divergence(1 - own, 1 - pooled))
        for rows, own in ((synthetic, share), (held_out, reference))
    )
    return bool(statistic >= MIN_EVIDENCE)


def _divergence(p: float, q: float) -> float:
    return float(p * np.log(p / q)) if p > 0 else 0.0


def _concatenate(arrays: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Concatenate columns, as numbers or strings where their types differ."""
    arrays = [decode(array) for array in arrays]
    if len({array.type for array in arrays}) > 1:
        numbers = [to_numbers(array) for array in arrays]
        if all(values is not None for values in numbers) and not any(
            pa.types.is_temporal(array.type) for array in arrays
        ):
            arrays = [
                pa.chunked_array([pa.array(values, from_pandas=True)])
                for values in numbers
            ]
        else:
            arrays = [to_strings(array) for array in arrays]
    return pa.chunked_array([chunk for array in arrays for chunk in array.chunks])
