"""Columns of every discrete type, and encoders that keep all columns."""

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa

from ar_models.tables.columns import Column
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.sketches import sketch_column
from tests.support.sketching import cells_of

N = 600


def fit_columns(table: pa.Table, **settings: object) -> TableEncoder:
    """Fit an encoder to all rows of a table, with every column."""
    data = DataConfig.model_validate({"path": "", **settings})
    columns: list[Column] = []
    for field in table.schema:
        override = data.columns.get(field.name)
        cells = cells_of(table[field.name], override.kind if override else None)
        part = sketch_column(cells, field.type, 65536)
        column = infer_column(field.name, field.type, part, data)
        assert isinstance(column, Column), column
        columns.append(column)
    return TableEncoder(tuple(columns), (), table.schema)


def with_nulls(array: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Set about a tenth of the entries to null."""
    return array.take(
        pa.array(np.arange(len(array)), mask=rng.random(len(array)) < 0.1)
    )


def discrete_arrays(seed: int) -> dict[str, pa.Array]:
    """Return an array of every discrete type, with `N` random entries."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, pa.Array] = {}
    for type in (pa.int8(), pa.int16(), pa.int32(), pa.int64()):
        low = np.iinfo(type.to_pandas_dtype()).min
        arrays[str(type)] = pa.array(rng.integers(max(low, -300), 120, N)).cast(type)
        arrays[f"whole {type}"] = pa.array(
            rng.integers(low, -(low + 1), N, np.int64, endpoint=True)
        ).cast(type)
    for type in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        high = np.iinfo(type.to_pandas_dtype()).max
        arrays[str(type)] = pa.array(rng.integers(0, 200, N)).cast(type)
        arrays[f"whole {type}"] = pa.array(
            rng.integers(0, high, N, np.uint64, endpoint=True)
        ).cast(type)
    arrays["far from zero"] = pa.array(3 * 10**12 + rng.integers(0, 1000, N))
    seconds = rng.integers(-(10**9), 2 * 10**9, N)
    for power, unit in enumerate(("s", "ms", "us", "ns")):
        ticks = seconds * 1000**power + rng.integers(0, 1000**power, N)
        for zone in (None, "Europe/Berlin"):
            arrays[f"timestamp {unit} {zone}"] = pa.array(
                ticks, pa.timestamp(unit, zone)
            )
        arrays[f"duration {unit}"] = pa.array(ticks, pa.duration(unit))
    arrays["hours"] = pa.array(seconds // 3600 * 3600, pa.timestamp("s"))
    arrays["midnights"] = pa.array(seconds // 86400 * 86400, pa.timestamp("s"))
    days = (seconds // 86400).astype(np.int32)
    arrays["date32"] = pa.array(days, pa.date32())
    arrays["date64"] = arrays["date32"].cast(pa.date64())
    clock = seconds % 86400
    arrays["time32 s"] = pa.array(clock.astype(np.int32), pa.time32("s"))
    arrays["time32 ms"] = pa.array((clock * 1000 + 5).astype(np.int32), pa.time32("ms"))
    arrays["time64 us"] = pa.array(clock * 10**6, pa.time64("us"))
    arrays["time64 ns"] = pa.array(clock * 10**9 + 7, pa.time64("ns"))
    arrays["full hours"] = pa.array(clock // 3600 * 3600 * 10**6, pa.time64("us"))
    cents = [Decimal(int(v)).scaleb(-2) for v in rng.integers(-(10**6), 10**6, N)]
    arrays["decimal32"] = pa.array(cents, pa.decimal32(9, 2))
    arrays["decimal64"] = pa.array(cents, pa.decimal64(18, 2))
    arrays["decimal128"] = pa.array(cents, pa.decimal128(38, 2))
    arrays["decimal256"] = pa.array(cents, pa.decimal256(60, 2))
    arrays["bool"] = pa.array(rng.random(N) < 0.3)
    words = rng.choice(["", "a", "b b", "é", "\u4e2d"], N).tolist()
    arrays["string"] = pa.array(words, pa.string())
    arrays["large_string"] = pa.array(words, pa.large_string())
    arrays["dictionary"] = arrays["string"].dictionary_encode()
    arrays["small dictionary"] = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, 3, N), pa.int8()), ["x", "y", "z"], ordered=True
    )
    arrays["dictionary of integers"] = pa.array(
        rng.integers(0, 5, N)
    ).dictionary_encode()
    bytes_ = [bytes([v, 255]) for v in rng.integers(0, 5, N).tolist()]
    arrays["binary"] = pa.array(bytes_, pa.binary())
    arrays["fixed binary"] = pa.array(bytes_, pa.binary(2))
    arrays["whole floats"] = pa.array(rng.integers(-50, 50, N).astype(np.float32))
    few = rng.choice([0.1, 0.25, math.pi], N)
    arrays["few reals"] = pa.array(few)
    return arrays


DISCRETE = sorted(discrete_arrays(0))
