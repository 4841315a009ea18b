import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.arrow import python_values, scalar_text
from tests.support.columns import fit_columns

COMPATIBLE: list[tuple[pa.Array, pa.Array]] = [
    (pa.array([1, 2, 7], pa.int32()), pa.array([1, 2, 7], pa.int64())),
    (pa.array([1, 2, 7], pa.int32()), pa.array([1, 2, 7], pa.uint8())),
    (pa.array([1, 2, 7], pa.uint64()), pa.array([1.0, 2, 7])),
    (pa.array([1, 2, 7]), pa.array([1.0, 2, 7])),
    (pa.array([1.0, 2, 7]), pa.array([1, 2, 7])),
    (pa.array([1.5, 2, 7]), pa.array([1.5, 2, 7], pa.float32())),
    (pa.array(["a", "b"]), pa.array(["a", "b"]).dictionary_encode()),
    (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"])),
    (pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string())),
    (pa.array(["a", "b"]), pa.array(["a", "b"], pa.string_view())),
    (pa.array([True, False]), pa.array([1, 0])),
    (
        pa.array([10, 90_000, 7], pa.timestamp("s")),
        pa.array([10_000, 90_000_000, 7000], pa.timestamp("ms", "Asia/Tokyo")),
    ),
    (
        pa.array([10_000, 90_000_000], pa.timestamp("ns")),
        pa.array([10, 90_000], pa.timestamp("us")),
    ),
    (
        pa.array([1, 2, 9], pa.date32()),
        pa.array([86400, 2 * 86400, 9 * 86400], pa.timestamp("s")),
    ),
    (
        pa.array([Decimal("1.25"), Decimal("3.50")], pa.decimal128(9, 2)),
        pa.array([Decimal("1.2500"), Decimal("3.5000")], pa.decimal128(12, 4)),
    ),
    (
        pa.array([Decimal("1.25"), Decimal("3.50")], pa.decimal128(9, 2)),
        pa.array([1.25, 3.5]),
    ),
]


@pytest.mark.parametrize("trained, given", COMPATIBLE)
def test_other_types_of_the_same_values_are_read(
    trained: pa.Array, given: pa.Array
) -> None:
    encoder = fit_columns(pa.table({"a": trained}), min_category_count=1)
    expected = encoder.encode(pa.table({"a": trained}))
    encoded = encoder.encode(pa.table({"other": given, "a": given}))
    np.testing.assert_array_equal(encoded.x, expected.x)
    assert not encoded.out_of_support.any()


def test_a_null_among_integers_may_come_as_nan() -> None:
    encoder = fit_columns(pa.table({"a": [1, 2, None, 9]}))
    encoded = encoder.encode(pa.table({"a": [1.0, math.nan, 9.0]}))
    assert encoder.decode(encoded.x).column("a").to_pylist() == [1, None, 9]


def test_samples_beyond_the_range_of_a_type_fall_on_its_bound() -> None:
    encoder = fit_columns(pa.table({"a": pa.array([1, 2, 100, 3], pa.int8())}))
    assert encoder.variables[0].upper == 127
    far = np.array([[2.0**22], [5.0]], np.float32)
    assert encoder.decode(far).column("a").to_pylist() == [127, 5]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_duration_can_be_shown(unit: str) -> None:
    ends = pa.array([2**63 - 1, None, 1000, -(2**63) + 1], pa.duration(unit))
    largest, missing, *_ = python_values(ends)
    assert missing is None
    if unit in ("s", "ms"):  # more than a billion days
        assert largest == f"{2**63 - 1} {unit}"
        assert scalar_text(ends[0]) == largest
    else:
        assert largest == ends[0].as_py()


@pytest.mark.parametrize(
    ("type", "storage"),
    [(pa.time32("s"), pa.int32()), (pa.time64("us"), pa.int64())],
)
def test_times_outside_of_a_day_can_be_shown(
    type: pa.DataType, storage: pa.DataType
) -> None:
    times = pa.array([-1, 3, None], storage).cast(type)
    assert python_values(times) == [f"-1 {type.unit}", f"3 {type.unit}", None]
    assert python_values(times[1:]) == times[1:].to_pylist()
