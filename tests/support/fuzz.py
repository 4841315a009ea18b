"""Random datasets with extreme values, and files with random damage."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.arrow_types import every_type
from tests.support.faults import cut, empty, flip, make_binary, zero

ROWS = 120
"""Rows of a random dataset, of which a few are extreme."""

DAMAGE = (flip, flip, flip, cut, zero, empty, make_binary)
"""Kinds of damage to a file; a flipped bit is the most varied one."""


def random_table(seed: int, names: tuple[str, ...] | None = None) -> pa.Table:
    """Return rows of random columns, some cells of which are extreme or null.

    Args:
        seed: Determines the rows.
        names: Columns; one to five random ones if None.
    """
    rng = np.random.default_rng(seed)
    table = every_type(ROWS, seed)
    if names is None:
        count = int(rng.integers(1, 6))
        chosen = rng.choice(table.num_columns, count, replace=False)
        names = tuple(table.column_names[k] for k in sorted(chosen))
    columns = {name: table.column(name).combine_chunks() for name in names}
    for name, column in columns.items():
        if rng.random() < 0.6:
            columns[name] = with_extremes(column, rng)
    return pa.table({"id": pa.array(range(ROWS)), **columns})


def with_extremes(column: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Replace some cells of a column by extreme values of its type, and by nulls."""
    extremes = extreme_values(column.type)
    places = {int(k) for k in rng.choice(len(column), int(rng.integers(1, 6)))}
    if extremes is None or rng.random() < 0.3:
        if isinstance(column, pa.ExtensionArray):
            return column
        mask = np.isin(np.arange(len(column)), list(places))
        indices = pa.array(np.arange(len(column)), mask=mask)
        # Views cannot be taken from.
        return column if "view" in str(column.type) else column.take(indices)
    pieces = [
        extremes.slice(int(rng.integers(len(extremes))), 1)
        if place in places
        else column.slice(place, 1)
        for place in range(len(column))
    ]
    return pa.concat_arrays(pieces)


def extreme_values(type: pa.DataType) -> pa.Array | None:
    """Return the values at the ends of a type, valid or not; None if there are none."""
    of = pa.types
    if of.is_integer(type):
        info = np.iinfo(type.to_pandas_dtype())
        return pa.array([info.min, info.max, 0], type)
    if of.is_floating(type):
        values = np.array([np.nan, np.inf, -np.inf, -0.0, np.finfo("f8").max])
        dtype: Any = type.to_pandas_dtype()
        with np.errstate(over="ignore"):
            return pa.array(values.astype(dtype), type)
    if of.is_date32(type):
        return pa.array([-(2**31), 2**31 - 1, 2_932_897], pa.int32()).cast(type)
    if of.is_temporal(type) and not of.is_time(type):
        ends = np.array([-(2**63), 2**63 - 1, 253_402_300_800, -62_135_596_801])
        if of.is_timestamp(type) and type.unit == "s":
            ends //= 1001  # Parquet counts milliseconds.
        return pa.array(ends).view(type)
    if of.is_time32(type):
        return pa.array([-1, 2**31 - 1, 86_400], pa.int32()).view(type)
    if of.is_time64(type):
        return pa.array([-1, 2**63 - 1], pa.int64()).view(type)
    if of.is_string(type):
        return invalid_text(type)
    if of.is_decimal(type):
        return pa.array([10 ** (type.precision - type.scale) - 1, 0, None], type)
    return None


def invalid_text(type: pa.DataType) -> pa.Array:
    """Return text that is not UTF-8, with a zero byte, and of a megabyte."""
    data = pa.array([b"\xff\xfe", b"a\x00b", b"x" * 2**20])
    return pa.Array.from_buffers(type, 3, data.buffers())


def write_random_file(seed: int, path: Path, names: tuple[str, ...] | None) -> None:
    """Write a random dataset as one file, with random options and sometimes damage.

    Args:
        seed: Determines the file.
        path: The file.
        names: Columns; random ones if None.
    """
    rng = np.random.default_rng([seed, 1])
    pq.write_table(
        random_table(seed, names),
        path,
        row_group_size=int(rng.integers(20, 200)),
        compression=str(rng.choice(["none", "snappy", "zstd"])),
        use_dictionary=bool(rng.random() < 0.5),
        write_page_checksum=bool(rng.random() < 0.5),
        data_page_version=str(rng.choice(["1.0", "2.0"])),
    )
    if rng.random() < 0.3:
        damage = DAMAGE[int(rng.integers(len(DAMAGE)))]
        if damage is flip:
            flip(path, float(rng.random()))
        else:
            damage(path)
