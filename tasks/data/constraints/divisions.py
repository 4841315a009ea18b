"""Columns that are the quotient or the remainder of another one by a constant."""

from collections.abc import Iterator

import numpy as np

from ar_models.tables.formulas.integer_division import (
    QuotientFormula,
    RemainderFormula,
)
from tasks.data.constraints.candidate import Candidate, evaluate, is_exact
from tasks.data.constraints.sample import Sample

DIVISORS = (1, 2, 4, 5, 7, 10, 12, 24, 30, 50, 60, 100, 500, 1000, 3600, 10_000, 86_400)
"""Divisors that are tried; the quotient by 1 is the number without its fraction."""

SCREENED_ROWS = 400
"""Number of rows in which quotients and remainders are compared first."""

SCREENED_SHARE = 0.9
"""Share of these rows that agree, at least."""

FIRST_ROWS, FIRST_SHARE = 24, 0.5
"""Number of rows that are compared before these, and the share that agrees, at least:
few pairs of columns pass."""


def divisions(sample: Sample) -> Iterator[Candidate]:
    """Find columns that are a quotient or remainder of another one, rounded down."""
    columns = [c for c in sample.summands() if c.decimals is not None]
    if len(columns) < 2:
        return
    head = np.stack([c.numbers[:SCREENED_ROWS] for c in columns], axis=1)
    for at, parent in enumerate(columns):
        values = head[:, at]
        known = ~np.isnan(values)
        for divisor in DIVISORS:
            whole = parent.decimals == 0
            if divisor == 1 and whole:
                continue
            quotient, rest = np.divmod(values, divisor)
            for formula, given in (
                (QuotientFormula(parent.name, float(divisor)), quotient),
                (RemainderFormula(parent.name, float(divisor)), rest),
            ):
                if len(np.unique(given[known])) < 3:
                    continue
                for other in _agreeing(head[known], given[known]):
                    if other == at or np.array_equal(given[known], values[known]):
                        continue
                    target = columns[other]
                    candidate = evaluate(sample, target.name, formula)
                    if is_exact(candidate, target):
                        yield candidate


def _agreeing(values: np.ndarray, given: np.ndarray) -> list[int]:
    """Return the columns that agree with given numbers in most rows.

    Args:
        values: Numbers of the columns, (n, columns).
        given: The numbers to compare with, (n,).
    """

    def share(rows: int, columns: np.ndarray | slice) -> np.ndarray:
        agreement = np.isclose(values[:rows, columns], given[:rows, None], rtol=1e-12)
        mean: np.ndarray = agreement.mean(axis=0)
        return mean

    likely = np.flatnonzero(share(FIRST_ROWS, slice(None)) >= FIRST_SHARE)
    agreeing: list[int] = likely[share(len(given), likely) >= SCREENED_SHARE].tolist()
    return agreeing
