"""Clock times hhmm that follow from another one and a number of minutes."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ar_models.tables.formulas.clock import DAY, ClockFormula, clock_minutes
from tasks.data.constraints.candidate import Candidate, evaluate, is_exact
from tasks.data.constraints.sample import Sample, SampledColumn

SCREENED_ROWS = 400
"""Number of rows in which sums of times are compared first."""

SCREENED_SHARE = 0.9
"""Share of these rows that agree, at least."""


def clock_times(sample: Sample) -> Iterator[Candidate]:
    """Find times of day, and durations between two, that follow modulo 24 hours."""
    clocks = [c for c in sample.summands() if _is_clock(c) or _is_minute_of_day(c)]
    if len(clocks) < 2:
        return
    minutes = [c for c in sample.summands() if c.decimals == 0 and not _is_clock(c)]
    for end in clocks:
        for start in clocks:
            if end is start:
                continue
            between = np.mod(_head(end) - _head(start), DAY)
            for duration in minutes:
                if duration is end or duration is start:
                    continue
                for sign in (1.0, -1.0):
                    given = sign * duration.numbers[:SCREENED_ROWS]
                    constant = _constant(np.mod(between - given, DAY))
                    if constant is not None:
                        yield from _both(sample, (end, start, duration), sign, constant)


def _is_clock(column: SampledColumn) -> bool:
    """Return whether a column holds clock times hhmm, of several hours and minutes."""
    if column.decimals != 0 or column.distinct < 48:
        return False
    values = column.numbers[~column.missing]
    minutes = clock_minutes(values)
    return bool(
        np.isfinite(minutes).mean() >= 0.999
        and values.max() > 1200
        and len(np.unique(values // 100)) >= 8
    )


def _is_minute_of_day(column: SampledColumn) -> bool:
    """Return whether a column holds numbers of minutes since midnight."""
    if column.decimals != 0 or column.distinct < 48 or _is_clock(column):
        return False
    values = column.numbers[~column.missing]
    return bool(values.min() >= 0 and DAY / 2 < values.max() < DAY)


def _head(clock: SampledColumn) -> np.ndarray:
    """Return the first times in minutes since midnight."""
    values = clock.numbers[:SCREENED_ROWS]
    return clock_minutes(values) if _is_clock(clock) else values


def _constant(rest: np.ndarray) -> float | None:
    """Return the number of minutes that most rows agree in, or None."""
    known = rest[np.isfinite(rest)]
    if len(known) < 50:
        return None
    values, counts = np.unique(known, return_counts=True)
    best = int(np.argmax(counts))
    return float(values[best]) if counts[best] >= SCREENED_SHARE * len(known) else None


def _both(
    sample: Sample,
    columns: tuple[SampledColumn, SampledColumn, SampledColumn],
    sign: float,
    constant: float,
) -> Iterator[Candidate]:
    """Iterate over the end from start and duration, and the duration from both."""
    end, start, duration = columns
    terms = [(start, 1.0), (duration, sign)]
    formula = clock_formula(terms, constant, end)
    candidate = evaluate(sample, end.name, formula)
    if is_exact(candidate, end):
        yield candidate
    if end.name < start.name:  # the same duration is found from both sides
        terms = [(end, sign), (start, -sign)]
        candidate = evaluate(
            sample, duration.name, clock_formula(terms, -sign * constant, duration)
        )
        if is_exact(candidate, duration):
            yield candidate


def clock_formula(
    terms: list[tuple[SampledColumn, float]], constant: float, target: SampledColumn
) -> ClockFormula:
    """Return the formula of a time of day or a duration.

    Args:
        terms: Columns of times of day and of minutes, and their signs.
        constant: Minutes that are added.
        target: The derived column.
    """
    clocks = tuple((c.name, sign) for c, sign in terms if _is_clock(c))
    minutes = tuple((c.name, sign) for c, sign in terms if not _is_clock(c))
    values = target.numbers[~target.missing]
    if _is_clock(target):
        late = (values == 2400).sum() > (values == 0).sum()
        midnight: Literal[0, 2400] = 2400 if late else 0
        return ClockFormula(clocks, minutes, constant, "clock", midnight)
    lowest = 0.0 if _is_minute_of_day(target) else _lowest(values)
    return ClockFormula(clocks, minutes, constant, "minutes", 0, lowest)


def _lowest(values: np.ndarray) -> float:
    """Return the start of 24 hours that hold most values, with room on both sides."""
    ranked = np.sort(values)
    inside = np.searchsorted(ranked, ranked + DAY) - np.arange(len(ranked))
    first = int(np.argmax(inside))
    width = ranked[first + inside[first] - 1] - ranked[first]
    return float(np.floor(ranked[first] - (DAY - width) / 2))
