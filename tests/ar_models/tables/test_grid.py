import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.grid import from_units, least_decimals, to_units

CENTS = np.round(np.random.default_rng(0).uniform(-500, 900, 3000), 2)


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        (np.array([1.0, -3.0]), pa.float64(), 0),
        (CENTS, pa.float64(), 2),
        (CENTS.astype(np.float32).astype(np.float64), pa.float32(), 2),
        (CENTS.astype(np.float32).astype(np.float64), pa.float64(), None),
        (CENTS / 3, pa.float64(), None),
        (np.float64(np.float32(CENTS * 1000 / 3)), pa.float32(), None),
        (np.array([1e300, 0.5]), pa.float64(), None),
        (np.array([]), pa.float64(), 0),
    ],
)
def test_the_number_of_decimals_is_found_exactly(
    values: np.ndarray, type: pa.DataType, expected: int | None
) -> None:
    assert least_decimals(values, type) == expected


def test_units_stand_for_the_same_values() -> None:
    units, off = to_units(CENTS, 2, pa.float64())

    assert not off.any()
    assert (from_units(units, 2) == CENTS).all()


def test_values_beside_the_grid_are_off() -> None:
    values = np.array([0.25, 0.251, np.nan, np.inf, 1e40])

    units, off = to_units(values, 2, pa.float64())

    assert units[0] == 25
    assert off.tolist() == [False, True, True, True, True]
