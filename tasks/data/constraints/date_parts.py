"""Columns that are parts of a date or timestamp, also in another time zone."""

import zoneinfo
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.choices import Part
from ar_models.tables.formulas.date_part import PARTS, DatePart
from ar_models.tables.formulas.formula import matches
from tasks.data.constraints.candidate import Candidate, evaluate, is_exact
from tasks.data.constraints.sample import Sample, SampledColumn

SCREENED_ROWS = 400
"""Number of rows in which parts are compared first."""

SCREENED_SHARE = 0.9
"""Share of these rows in which a part agrees, at least."""

MAX_ZONES = 8
"""Number of time zones that are compared in all rows."""

CLOCK: tuple[Part, ...] = ("hour", "minute", "second")
"""Parts that a date has not."""


def date_parts(sample: Sample) -> Iterator[Candidate]:
    """Find columns that are a part of a date or timestamp of the row."""
    targets = [
        c
        for c in sample.columns.values()
        if c.distinct > 1 and c.family in ("integer", "real", "text", "date", "decimal")
    ]
    for moment in [c for c in sample.columns.values() if c.is_moment]:
        if moment.distinct < 3:
            continue
        rest = [t for t in targets if t is not moment]
        found: dict[str, Candidate] = {}
        for target in filter(_may_be_hour, rest):
            own = _best_part(sample, moment, target, [None])
            candidate = own or _in_some_zone(sample, moment, target)
            if candidate is not None:
                found[target.name] = candidate
        zones = {_zone(c): None for c in found.values()}
        for target in rest:
            best = _best_part(sample, moment, target, [None, *zones])
            best = best or found.get(target.name)
            if best is not None:
                yield best


def _zone(candidate: Candidate) -> str | None:
    assert isinstance(candidate.formula, DatePart)
    return candidate.formula.zone


def _in_some_zone(
    sample: Sample, moment: SampledColumn, target: SampledColumn
) -> Candidate | None:
    """Return the part that a column of hours or dates is in the best time zone."""
    if moment.family == "date":
        return None
    part: Part = "date" if target.family == "date" else "hour"
    shares = {
        zone: _screened(moment, target, DatePart(moment.name, part, zone))
        for zone in ("UTC", *all_zones())
    }
    best = max(shares.values())
    if best < SCREENED_SHARE:
        return None
    # Many zones have had the same clock: a well-known one stands for them.
    alike = [zone for zone, share in shares.items() if share >= best - 0.01]
    found = [
        evaluate(sample, target.name, DatePart(moment.name, part, zone))
        for zone in sorted(alike, key=_rank)[:MAX_ZONES]
    ]
    candidate = max(found, key=lambda c: c.rate)
    return candidate if is_exact(candidate, target) else None


def _best_part(
    sample: Sample,
    moment: SampledColumn,
    target: SampledColumn,
    zones: Iterable[str | None],
) -> Candidate | None:
    """Return the part that the target is in one of some time zones, or None."""
    best: Candidate | None = None
    for zone in dict.fromkeys(zones):
        for part in _parts(moment):
            formula = DatePart(moment.name, part, zone)
            if _screened(moment, target, formula) < SCREENED_SHARE:
                continue
            candidate = evaluate(sample, target.name, formula)
            if is_exact(candidate, target) and (
                best is None or candidate.rate > best.rate
            ):
                best = candidate
    return best


def _parts(moment: SampledColumn) -> tuple[Part, ...]:
    """Return the parts that a moment has."""
    if moment.family == "date":
        return tuple(p for p in PARTS if p not in (*CLOCK, "date"))
    return PARTS


def _screened(moment: SampledColumn, target: SampledColumn, formula: DatePart) -> float:
    """Return the share of the first rows in which a part agrees with the target."""
    rows = np.flatnonzero(~moment.missing & ~target.missing)[:SCREENED_ROWS]
    if len(rows) == 0:
        return 0.0
    taken = pa.array(rows)
    cells = target.array.take(taken)
    values = formula.evaluate({moment.name: moment.array.take(taken)}, target.type)
    return float(matches(formula, values, cells).mean())


def _may_be_hour(column: SampledColumn) -> bool:
    """Return whether a column holds dates, or whole numbers from 0 to 23."""
    if column.family == "date":
        return True
    if not column.is_plain_number or column.decimals != 0 or column.distinct < 8:
        return False
    values = column.numbers[~column.missing]
    return bool(values.min() >= 0 and values.max() <= 24)


def _rank(zone: str) -> tuple[int, str]:
    """Return a key that sorts UTC and the zones of large cities before others."""
    common = (
        "UTC",
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "America/Sao_Paulo",
        "Europe/London",
        "Europe/Berlin",
        "Europe/Moscow",
        "Asia/Kolkata",
        "Asia/Shanghai",
        "Asia/Tokyo",
        "Australia/Sydney",
    )
    return (common.index(zone) if zone in common else len(common)), zone


@lru_cache(maxsize=1)
def all_zones() -> tuple[str, ...]:
    """Return the names of the IANA time zones of regions, in order."""
    regions = (
        "Africa/",
        "America/",
        "Asia/",
        "Atlantic/",
        "Australia/",
        "Europe/",
        "Indian/",
        "Pacific/",
    )
    names = zoneinfo.available_timezones()
    return tuple(sorted(name for name in names if name.startswith(regions)))
