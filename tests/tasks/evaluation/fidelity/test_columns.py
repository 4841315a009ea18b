"""Tests of the rules of single columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from tasks.evaluation.fidelity.columns import check_column, to_ranges, to_units
from tasks.evaluation.fidelity.findings import Finding, StackedRows
from tasks.evaluation.fidelity.tables import Tables

SIZE = 2000


def findings(real: pa.Array, synthetic: pa.Array) -> list[Finding]:
    """Return the findings of synthetic cells; the real ones are two thirds."""
    third = len(real) // 2
    tables = [pa.table({"v": a}) for a in (real[:third], real[third:], synthetic)]
    rows = StackedRows.stack(Tables(*tables))
    return [finding for finding, _ in check_column(rows, "v")]


def clock(seed: int) -> NDArray[np.int64]:
    """Return clock times of the form HHMM."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 24, 2 * SIZE) * 100 + rng.integers(0, 60, 2 * SIZE)


def dates(seed: int) -> pa.Array:
    """Return random dates of two years."""
    days = np.random.default_rng(seed).integers(15000, 15730, 2 * SIZE)
    return pa.array(days.astype(np.int32)).cast(pa.date32())


def cents(seed: int) -> NDArray[np.float64]:
    """Return positive amounts of two decimals."""
    return np.round(np.random.default_rng(seed).exponential(50, 2 * SIZE), 2)


def test_noise_on_decimals_is_found() -> None:
    (found,) = findings(pa.array(cents(0)), pa.array(cents(1) + 0.0012))
    assert (found.check, found.rule) == ("decimals", "multiples of 0.01")
    assert (found.synthetic, found.held_out) == (1, 0)
    assert len(found.examples) == 3


def test_amounts_beside_multiples_are_found() -> None:
    real = np.random.default_rng(0).integers(1, 300, 2 * SIZE) * 100
    (found,) = findings(
        pa.array(real), pa.array(real + (np.arange(len(real)) % 4 == 0))
    )
    assert (found.check, found.rule) == ("multiples", "multiples of 100")
    assert found.synthetic == pytest.approx(0.25)


def test_minutes_above_59_are_found() -> None:
    other = clock(1)
    other[:400] = other[:400] // 100 * 100 + 86
    (found,) = findings(pa.array(clock(0)), pa.array(other))
    assert (found.check, found.rule) == ("digits", "last two digits 0 to 59")
    assert found.synthetic == pytest.approx(0.1)
    assert all(example.endswith("86") for example in found.examples)


def test_other_frequencies_of_digits_are_found() -> None:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 1000, 2 * SIZE)
    heaped = np.where(rng.random(2 * SIZE) < 0.6, real // 10 * 10, real)
    (found,) = findings(pa.array(heaped), pa.array(real))
    assert (found.check, found.rule) == (
        "digit_frequencies",
        "frequencies of the last digit",
    )
    assert found.synthetic == pytest.approx(0.54, abs=0.03)


def test_dates_that_cannot_be_or_never_are_are_found() -> None:
    real, other = dates(0), dates(1)
    for form in ("%Y-%m-%d", "%Y%m%d"):
        texts = [pc.strftime(array, form) for array in (real, other)]
        bad = pc.replace_substring_regex(texts[1], r"(\d\d)$", "31")
        if form == "%Y%m%d":
            texts, bad = [t.cast(pa.int64()) for t in texts], bad.cast(pa.int64())
        assert findings(*texts) == []
        found = findings(texts[0], bad)[0]
        assert (found.check, found.rule) == ("dates", "dates of the calendar")
        assert found.synthetic == pytest.approx(5 / 12, abs=0.05)
    workdays = real.filter(pc.less(pc.day_of_week(real), 5))
    (found,) = findings(workdays, other)
    assert (found.check, found.rule) == ("dates", "day of week 0 to 4")


def test_values_that_never_occur_are_found() -> None:
    rng = np.random.default_rng(0)
    real = pa.array(rng.choice([5.25, 6.5, 7.75], 2 * SIZE))
    other = pa.array(rng.choice([5.25, 6.5, 7.75, 7.25], 2 * SIZE))
    (found,) = findings(real, other)
    assert (found.check, found.examples) == ("values", ("7.25",))


@pytest.mark.parametrize("make", [clock, dates, cents])
def test_real_values_are_quiet(make: object) -> None:
    assert callable(make)
    for seed in range(5):
        assert findings(pa.array(make(2 * seed)), pa.array(make(2 * seed + 1))) == []
    rng = np.random.default_rng(0)
    reals = [pa.array(rng.normal(size=2 * SIZE)) for _ in range(2)]
    assert findings(*reals) == []


def test_units_are_exact() -> None:
    cells = pa.chunked_array([pa.array([0.07, None, 1.1, np.inf] * 50, pa.float32())])
    units = to_units(cells, slice(0, 200))
    assert units is not None and units.places == 2
    assert units.values[:4].tolist() == [7, 0, 110, 0]
    assert units.known[:4].tolist() == [True, False, True, False]


def test_ranges_are_short() -> None:
    assert to_ranges(np.array([0, 1, 2, 5, 7, 8])) == "0 to 2, 5, 7 to 8"
    assert to_ranges(np.arange(0, 40, 2)) == "0, 2, 4, 6, 8, 10, …"
    assert to_ranges(np.array([], np.int64)) == "none"
