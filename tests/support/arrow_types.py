"""A table with a column of every Arrow type that Parquet can hold."""

import datetime
import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

ROWS = 400

UNITS = ("s", "ms", "us", "ns")

START = 1_717_200_000
"""The seconds of 2024-06-01."""


def every_type(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Return rows with a column of every Arrow type that Parquet can hold."""
    rng = np.random.default_rng(seed)
    return pa.table(
        numbers(rows, rng)
        | decimals(rows, rng)
        | times(rows, rng)
        | words(rows, rng)
        | dictionaries(rows, rng)
        | nested(rows, rng)
        | extensions(rows, rng)
    )


def numbers(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every type of numbers, bool and null included."""
    columns: dict[str, pa.Array] = {}
    for bits in (8, 16, 32, 64):
        for sign in ("", "u"):
            values = rng.poisson(30, rows)
            columns[f"{sign}int{bits}"] = pa.array(values).cast(f"{sign}int{bits}")
    # Above 2**53 float64 holds even integers only.
    columns["large_int"] = pa.array(2**53 + 7 * 10**15 + rng.integers(0, 900, rows))
    columns["large_uint"] = pa.array(
        np.uint64(2**63) + rng.integers(0, 900, rows).astype(np.uint64)
    )
    columns["wide_int"] = pa.array(rng.integers(-(2**62), 2**62, rows))
    for name, dtype in (("half_float", np.float16), ("float", np.float32)):
        columns[name] = pa.array(rng.lognormal(2, 0.5, rows).astype(dtype))
    columns["double"] = pa.array(rng.normal(size=rows))
    columns["bool"] = pa.array(rng.random(rows) < 0.3)
    columns["null"] = pa.nulls(rows)
    return columns


def decimals(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every type of decimals, and some of the largest precision."""

    def drawn(exponent: int) -> list[Decimal]:
        values = rng.lognormal(8, 1, rows) + 100
        return [Decimal(int(v)).scaleb(exponent) for v in values]

    exact = [Decimal(int(v)) for v in rng.integers(10**17, 10**18, rows)]
    return {
        "decimal32": pa.array(drawn(-2), pa.decimal32(9, 2)),
        "decimal64": pa.array(drawn(-2), pa.decimal64(18, 2)),
        "decimal128": pa.array(drawn(-2), pa.decimal128(38, 2)),
        "decimal256": pa.array(drawn(-2), pa.decimal256(60, 2)),
        "spark_decimal": pa.array(drawn(-2), pa.decimal128(38, 18)),
        "large_decimal": pa.array(drawn(30), pa.decimal256(76, 18)),
        "precise_decimal": pa.array(
            [a + b.scaleb(-18) for a, b in zip(drawn(10), exact, strict=True)],
            pa.decimal256(76, 18),
        ),
        "whole_decimal": pa.array(drawn(0), pa.decimal128(38, 0)),
    }


def times(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every type of dates, times, timestamps and durations."""
    columns: dict[str, pa.Array] = {}
    for name, type in (("date32", pa.date32()), ("date64", pa.date64())):
        days = START // 86_400 + rng.integers(0, 90, rows)
        columns[name] = pa.array(days.astype(np.int32), pa.date32()).cast(type)
    for power, unit in enumerate(UNITS):
        seconds = START + rng.integers(0, 90 * 86_400, rows)
        clock = rng.integers(8 * 3600, 17 * 3600, rows)
        part = rng.integers(0, 1000**power, rows)
        ticks = seconds * 1000**power + part
        columns[f"timestamp_{unit}"] = pa.array(ticks, pa.timestamp(unit))
        zoned = pa.timestamp(unit, "Europe/Berlin")
        columns[f"timestamp_{unit}_zone"] = pa.array(rng.permutation(ticks), zoned)
        elapsed = rng.exponential(3600, rows).astype(np.int64) * 1000**power + part
        columns[f"duration_{unit}"] = pa.array(elapsed, pa.duration(unit))
        of_day = clock * 1000**power + part
        if unit == "ns":  # pandas has times of day in microseconds only
            of_day = of_day // 1000 * 1000
        if power < 2:
            columns[f"time_{unit}"] = pa.array(of_day.astype("i4"), pa.time32(unit))
        else:
            columns[f"time_{unit}"] = pa.array(of_day, pa.time64(unit))
    return columns


def words(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every type of text and bytes."""
    text = ["", "a", "b b", "\u4e2d", "$x$ <b>"]
    data = [b"\xff\x00", b"\x80abc", b""]
    ids = [uuid.UUID(int=k << 100 | 255).bytes for k in range(7)]
    known: dict[pa.DataType, list[Any]] = {
        pa.string(): text,
        pa.large_string(): text,
        pa.string_view(): text,
        pa.binary(): data,
        pa.large_binary(): data,
        pa.binary_view(): data,
        pa.binary(16): ids,
    }
    return {
        str(type): pa.array([values[k] for k in rng.integers(0, 3, rows)], type)
        for type, values in known.items()
    }


def dictionaries(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return dictionaries of several types of values."""
    values = {
        "string": ["x", "y", "z"],
        "int64": [10, 20, 30],
        "double": [0.5, 1.25, 2.0],
        "date32": [datetime.date(2024, 1, k) for k in (1, 2, 3)],
        "timestamp": pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
        "binary": [b"\xff", b"\xfe", b"\x00"],
        "decimal": [Decimal("1.5"), Decimal("2.5"), Decimal("3.5")],
    }
    return {
        f"dictionary_{name}": pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, 3, rows), pa.int8()), pa.array(known)
        )
        for name, known in values.items()
    }


def nested(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every nested type."""
    small = [rng.integers(0, 9, k).tolist() for k in rng.integers(0, 4, rows)]
    fixed = rng.integers(0, 9, (rows, 2)).tolist()
    points = [{"x": int(a), "y": "ab"[a % 2]} for a in rng.integers(0, 9, rows)]
    maps = [[("k", int(a)), ("l", 1)] for a in rng.integers(0, 9, rows)]
    point = pa.struct([("x", pa.int64()), ("y", pa.string())])
    deep = [
        {"amount": float(a), "inner": {"day": day, "small": few, "point": [p]}}
        for a, day, few, p in zip(
            rng.normal(size=rows),
            (START // 86_400 + rng.integers(0, 90, rows)).tolist(),
            small,
            points,
            strict=True,
        )
    ]
    inner = pa.struct(
        [
            ("day", pa.date32()),
            ("small", pa.list_(pa.int64())),
            ("point", pa.list_(point)),
        ]
    )
    return {
        "list": pa.array(small, pa.list_(pa.int64())),
        "large_list": pa.array(small, pa.large_list(pa.int64())),
        "list_view": pa.array(small, pa.list_view(pa.int64())),
        "large_list_view": pa.array(small, pa.large_list_view(pa.int64())),
        "fixed_size_list": pa.array(fixed, pa.list_(pa.int64(), 2)),
        "struct": pa.array(
            deep, pa.struct([("amount", pa.float64()), ("inner", inner)])
        ),
        "map": pa.array(maps, pa.map_(pa.string(), pa.int64())),
        "list_of_struct": pa.array(
            [[p] * (p["x"] % 3) for p in points], pa.list_(point)
        ),
        "list_of_list": pa.array(
            [[s, s] for s in small], pa.list_(pa.list_(pa.int64()))
        ),
    }


def extensions(rows: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return a column of every canonical extension type."""
    ids = [uuid.UUID(int=k << 100 | 255).bytes for k in range(7)]
    chosen = pa.array([ids[k] for k in rng.integers(0, 7, rows)], pa.binary(16))
    documents = [json.dumps({"k": int(k)}) for k in rng.integers(0, 4, rows)]
    flags, others = (
        pa.array(rng.integers(0, 2, rows).astype(np.int8)) for _ in range(2)
    )
    tensor = pa.array(rng.integers(0, 9, (rows, 4)).tolist(), pa.list_(pa.int64(), 4))
    return {
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), chosen),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(documents)),
        "bool8": pa.ExtensionArray.from_storage(pa.bool8(), flags),
        "opaque": pa.ExtensionArray.from_storage(
            pa.opaque(pa.int8(), "thing", "vendor"), others
        ),
        "fixed_shape_tensor": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int64(), [2, 2]), tensor
        ),
    }


IMPOSSIBLE = {
    pa.lib.Type_INTERVAL_MONTHS: None,  # pyarrow has no such type
    pa.lib.Type_INTERVAL_DAY_TIME: None,
    pa.lib.Type_INTERVAL_MONTH_DAY_NANO: pa.month_day_nano_interval(),
    pa.lib.Type_SPARSE_UNION: pa.sparse_union([pa.field("a", pa.int8())]),
    pa.lib.Type_DENSE_UNION: pa.dense_union([pa.field("a", pa.int8())]),
    pa.lib.Type_RUN_END_ENCODED: pa.run_end_encoded(pa.int32(), pa.int8()),
}
"""The ids of Arrow types that Parquet cannot hold, with such a type."""


def type_ids(type: pa.DataType) -> set[int]:
    """Return the ids of a type and of all types within it."""
    found = {type.id}
    if isinstance(type, pa.BaseExtensionType):
        return type_ids(type.storage_type)
    if pa.types.is_dictionary(type):
        return found | type_ids(type.value_type)
    inner = [type.field(k).type for k in range(type.num_fields)]
    return found.union(*map(type_ids, inner))
