import datetime
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.inequality import (
    Inequality,
    comparable_kind,
    log_masses,
    log_tilts,
    penalties,
    violations,
)

TABLE = pa.table(
    {
        "a": pa.array([1.0, 2.0, 3.0, None, math.nan, 0.1 + 0.2, -math.inf]),
        "b": pa.array([2.0, 2.0, 1.0, 0.0, 0.0, 0.3, -5.0]),
    }
)


@pytest.mark.parametrize(
    ("operator", "broken"),
    [
        ("<=", [False, False, True]),
        ("<", [False, True, True]),
        (">=", [True, False, False]),
        (">", [True, True, False]),
    ],
)
def test_a_comparison_is_violated_where_both_sides_are_known(
    operator: str, broken: list[bool]
) -> None:
    inequality = Inequality("a", operator, "b")  # type: ignore[arg-type]  # a parameter
    (found,) = violations([inequality], TABLE, TABLE.schema).T
    assert found[:3].tolist() == broken
    assert not found[[3, 4, 6]].any()
    # 0.1 + 0.2 equals 0.3 but for a rounding error.
    assert found[5] == (operator in ("<", ">"))
    known = inequality.known({n: TABLE[n].combine_chunks() for n in "ab"})
    assert known.tolist() == [True, True, True, False, False, True, False]


def test_a_column_is_compared_with_a_constant() -> None:
    inequality = Inequality("a", ">=", constant=2.0, text="2")
    assert inequality.describe() == "a >= 2"
    assert inequality.columns == ("a",)
    (found,) = violations([inequality], TABLE, TABLE.schema).T
    assert found.tolist() == [True, False, False, False, False, True, False]


def test_dates_times_and_decimals_are_compared() -> None:
    moments = [datetime.datetime(2020, 1, 1, 12), datetime.datetime(2020, 1, 2)]
    for early, late, type in (
        (moments[:1], moments[1:], pa.timestamp("us")),
        ([datetime.date(2020, 1, 1)], [datetime.date(2020, 2, 1)], pa.date32()),
        ([datetime.time(8)], [datetime.time(9)], pa.time64("us")),
        ([Decimal("1.10")], [Decimal("1.20")], pa.decimal128(10, 2)),
    ):
        table = pa.table({"a": pa.array(early, type), "b": pa.array(late, type)})
        pairs = [Inequality("a", "<=", "b"), Inequality("b", "<=", "a")]
        assert violations(pairs, table, table.schema).tolist() == [[False, True]]


def test_only_values_of_one_kind_are_comparable() -> None:
    kinds = {
        "number": [pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(9, 2)],
        "date": [pa.date32(), pa.date64()],
        "timestamp": [pa.timestamp("s"), pa.timestamp("ns")],
        "instant": [pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Berlin")],
        "time": [pa.time32("s")],
        "duration": [pa.duration("s")],
        None: [pa.string(), pa.bool_(), pa.list_(pa.int8()), pa.binary()],
    }
    for kind, types in kinds.items():
        assert [comparable_kind(type) for type in types] == [kind] * len(types)


def test_rates_that_are_expected_of_new_rows() -> None:
    assert Inequality("a", "<", "b", rows=98).expected_rate == pytest.approx(1e-4)
    some = Inequality("a", "<", "b", rows=98, violations=1)
    assert some.expected_rate == pytest.approx(0.02)
    assert some.rate == pytest.approx(97 / 98)


def test_violations_cost_the_later_column_their_weight() -> None:
    names = ["b", "x", "a"]
    known = [Inequality("a", "<=", "b"), Inequality("a", "<", "b")]
    assert penalties(known, TABLE, TABLE.schema, names) is None
    weighted = [
        Inequality("a", "<=", "b", log_weight=-3.0, log_mass=0.25),
        Inequality("a", "<", "b", log_weight=-1.0, log_mass=0.5),
    ]
    found = penalties(weighted, TABLE, TABLE.schema, names)
    assert found is not None
    assert found[:, 2].tolist() == [0, 1, 4, 0, 0, 1, 0]
    assert not found[:, :2].any()
    assert log_masses(weighted, names).tolist() == [0, 0, 0.75]
    tilts = log_tilts(weighted, TABLE, TABLE.schema)
    np.testing.assert_array_equal(tilts, -found.sum(axis=1))
    given = TABLE.slice(0, 3).select(["b"]).append_column("a", pa.array([1.0, 2, None]))
    free = log_tilts(weighted, TABLE, TABLE.schema, given)
    assert free.tolist() == [0, 0, -4, 0, 0, -1, 0]
