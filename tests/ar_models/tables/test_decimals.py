from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables import decimals
from ar_models.tables.decimals import WideDecimal

SPARK = pa.decimal128(38, 18)


def test_decimals_are_counted_in_fewer_decimals() -> None:
    cells = [Decimal("12.34"), None, Decimal("-0.01"), Decimal("0.005")]
    for type in (SPARK, pa.decimal256(76, 30)):
        units, off = decimals.to_units(pa.array(cells, type), 2)
        assert units[:3].tolist() == [1234, 0, -1]
        assert off is not None and off.tolist() == [False, False, False, True]


@pytest.mark.parametrize("type", [SPARK, pa.decimal256(76, 18), pa.decimal64(18, 2)])
def test_integers_become_the_decimals_that_they_were(type: pa.DataType) -> None:
    array = pa.array([Decimal("12.34"), None, Decimal("-700.00")], type)
    units, off = decimals.to_units(array, 2)
    assert off is None
    null = np.array([False, True, False])
    narrow = decimals.from_units(units, null, pa.decimal128(10, 2))
    assert decimals.restored(narrow, type, None).equals(array)


def test_values_that_differ_beyond_64_bits_get_different_integers() -> None:
    cells = [Decimal(10**30 + k) for k in range(100)] + [-Decimal(10**30), None]
    units, off = decimals.to_units(pa.array(cells, pa.decimal256(60, 18)), 18)
    assert len(np.unique(units)) == 102
    assert off is not None and off.tolist() == [True] * 101 + [False]


def test_units_that_grow_beyond_64_bits_are_off() -> None:
    array = pa.array([Decimal(0), Decimal(9), Decimal(10**6)], pa.decimal128(20, 0))
    units, off = decimals.to_units(array, 16)
    assert units[:2].tolist() == [0, 9 * 10**16]
    assert off is not None and off.tolist() == [False, False, True]
    units, off = decimals.to_units(array, 30)
    assert off is not None and off.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("texts", "places"),
    [
        (["1.50", "2.25"], 2),
        (["1.000000000000000001"], 18),
        (["12000", "7000"], -3),
        (["0"], -57),
        (["7"], 0),
    ],
)
def test_the_least_number_of_decimals_is_found(texts: list[str], places: int) -> None:
    array = pa.array([Decimal(text) for text in texts], SPARK)
    assert decimals.least_places(array) == places


def test_reals_become_decimals_on_the_step_and_in_the_range() -> None:
    wide = WideDecimal("a", -3, "1000", "9000000000000000000000000000007000")
    reals = pa.array([0.0, 4567.8, None, 1e40, 7.2e30])
    found = decimals.restored(reals, pa.decimal256(76, 4), wide).to_pylist()
    assert found[:4] == [1000, 5000, None, Decimal(wide.high)]
    assert found[4] % 1000 == 0 and abs(found[4] / Decimal("7.2e30") - 1) < 1e-15


@pytest.mark.parametrize("precision", [5, 18, 38, 76])
def test_reals_are_clipped_to_the_precision(precision: int) -> None:
    make = pa.decimal256 if precision > 38 else pa.decimal128
    array = decimals.from_reals(np.array([1e300, -1e300]), None, make(precision, 2))
    high, low = array.to_pylist()
    assert str(low) == f"-{high}"
    assert 0.9 < float(high) / 10.0 ** (precision - 2) < 1.0001
