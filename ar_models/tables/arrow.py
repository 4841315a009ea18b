"""Conversion of Arrow arrays to numpy arrays of integers, reals or words, and back.

Every supported type belongs to a family, which determines the numpy type. Integers are
int64 in the smallest unit of the type: days of a date, ticks of a timestamp, units of
the last digit of a decimal.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import decimals

Family = Literal[
    "text",
    "bytes",
    "bool",
    "integer",
    "decimal",
    "real",
    "date",
    "time",
    "timestamp",
    "duration",
    "nothing",
]

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks in a second of each unit of time."""

SECONDS_OF_DAY = 86_400

FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""The days 0001-01-01 and 9999-12-31, counted from 1970-01-01."""

NUMBERS = ("bool", "integer", "decimal", "real")
MOMENTS = ("date", "timestamp")

_BIAS = np.uint64(1 << 63)


@dataclass(frozen=True)
class Cells:
    """Cells of one column as numpy arrays.

    Attributes:
        values: (n,) int64 integers, float64 reals or int32 places in `words`; any
            value where the cell is missing or off.
        missing: (n,) true where null; None if nowhere.
        off: (n,) true where the value does not lie on the grid of the type asked for,
            such as 1.5 among integers; None if nowhere.
        words: Distinct strings or bytes, large; None for numbers.
    """

    values: np.ndarray
    missing: np.ndarray | None = None
    off: np.ndarray | None = None
    words: pa.Array | None = None


def plain(type: pa.DataType) -> pa.DataType:
    """Return the type of the values behind encodings and extension types."""
    while True:
        if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
            type = type.value_type
        elif isinstance(type, pa.BaseExtensionType):
            type = type.storage_type
        else:
            return type


def family(type: pa.DataType) -> Family | None:
    """Return the family of a type, or None if it is nested or unknown."""
    type, of = plain(type), pa.types
    tests: dict[Family, bool] = {
        "text": of.is_string(type)
        or of.is_large_string(type)
        or of.is_string_view(type),
        "bytes": of.is_binary(type)
        or of.is_large_binary(type)
        or of.is_binary_view(type)
        or of.is_fixed_size_binary(type),
        "bool": of.is_boolean(type),
        "integer": of.is_integer(type),
        "decimal": of.is_decimal(type),
        "real": of.is_floating(type),
        "date": of.is_date(type),
        "time": of.is_time(type),
        "timestamp": of.is_timestamp(type),
        "duration": of.is_duration(type),
        "nothing": of.is_null(type),
    }
    return next((name for name, holds in tests.items() if holds), None)


def flat(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Convert to one chunk of plain values or, for text and bytes, of a dictionary.

    Extension types are replaced by their storage, and views of lists by lists.
    """
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            array = array.chunk(0)
        else:
            array = array.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps very large ones
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        array = _lists_of_views(array)
    if pa.types.is_dictionary(array.type):
        inner = family(array.type)
        if inner not in ("text", "bytes"):
            array = array.dictionary_decode()
    return array


def _lists_of_views(array: pa.Array) -> pa.Array:
    """Convert views of lists to lists, which Arrow's cast does not do correctly."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)
    offsets = pa.array(np.concatenate([[0], ends]))
    return pa.LargeListArray.from_arrays(
        offsets,
        pc.list_flatten(array),
        type=pa.large_list(array.type.value_field),
        mask=array.is_null() if array.null_count else None,
    )


def nulls(array: pa.Array) -> np.ndarray | None:
    """Return the mask (n,) of nulls, or None if there are none."""
    if array.null_count == 0:
        return None
    mask: np.ndarray = pc.is_null(array).to_numpy(zero_copy_only=False)
    return mask


def _or(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    """Return the union of two masks; None stands for a mask that is nowhere true."""
    if a is None or b is None:
        return b if a is None else a
    either: np.ndarray = a | b
    return either


def words(array: pa.Array) -> Cells:
    """Convert text or bytes to indices into an array of distinct words."""
    array = flat(array)
    if pa.types.is_null(array.type):
        return _nothing(array, words=pa.array([], pa.large_string()))
    large = pa.large_string() if family(array.type) == "text" else pa.large_binary()
    if not pa.types.is_dictionary(array.type):
        if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
            array = array.cast(large)
        array = array.dictionary_encode()
    missing = nulls(array)
    indices, dictionary = array.indices, array.dictionary.cast(large)
    if dictionary.null_count:
        # A dictionary may itself hold a null, and then the indices are all valid.
        inner = nulls(dictionary)
        places = pc.fill_null(indices, 0).to_numpy(zero_copy_only=False)
        missing = _or(missing, inner[places]) if inner is not None else missing
        dictionary = pc.fill_null(dictionary, "" if large == pa.large_string() else b"")
    places = pc.fill_null(indices, 0).to_numpy(zero_copy_only=False)
    return Cells(places, missing, words=dictionary)


def _nothing(array: pa.Array, words: pa.Array | None = None) -> Cells:
    """Return the cells of an array of type null: all missing."""
    zeros = np.zeros(len(array), np.int32 if words is not None else np.int64)
    return Cells(zeros, np.ones(len(array), bool), words=words)


def reals(array: pa.Array) -> Cells:
    """Convert numbers to float64; NaN stays NaN and is not missing."""
    array = flat(array)
    kind = family(array.type)
    if kind == "nothing":
        cells = _nothing(array)
        return Cells(cells.values.astype(np.float64), cells.missing)
    missing = nulls(array)
    array = array.cast(pa.float64(), safe=False)
    if missing is not None:
        array = pc.fill_null(array, 0.0)
    return Cells(array.to_numpy(zero_copy_only=False), missing)


def integers(array: pa.Array, target: pa.DataType) -> Cells:
    """Convert cells to int64 in the units of `target`, which may be another type."""
    array, goal = flat(array), family(target)
    if pa.types.is_null(array.type):
        return _nothing(array)
    missing = nulls(array)
    given = family(array.type)
    target = plain(target)
    if goal == "decimal":
        values, off = _decimal_units(array, target.scale)
    elif goal in ("date", "timestamp", "time", "duration"):
        values, off = _ticks(array, target)
    elif given == "real" or given == "decimal":
        raw = reals(array).values
        if goal != "real":  # pandas writes a null among integers as NaN
            nan = np.isnan(raw)
            missing = _or(missing, nan) if nan.any() else missing
        values, off = _whole(raw)
        if pa.types.is_uint64(target):
            values, off = _biased(values, off)
    else:
        values, off = _int64(array, biased=pa.types.is_uint64(target))
    return Cells(values, missing, off)


def _int64(array: pa.Array, *, biased: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert integers or bools; shift them by -2**63 if they are `biased`."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    if values.dtype == np.uint64:
        if biased:
            return (values ^ _BIAS).view(np.int64), None
        off = values >= _BIAS
        return np.where(off, 0, values).astype(np.int64), off if off.any() else None
    values = values.astype(np.int64, copy=False)
    return _biased(values, None) if biased else (values, None)


def _biased(
    values: np.ndarray, off: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Subtract 2**63; also return which values were negative."""
    negative = values < 0
    shifted = (values.view(np.uint64) ^ _BIAS).view(np.int64)
    return shifted, _or(off, negative) if negative.any() else off


def _whole(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert floats to integers; also return which are not whole or beyond 2**53."""
    with np.errstate(invalid="ignore"):
        off = ~((np.abs(values) <= 2.0**53) & (values == np.floor(values)))
        if not off.any():
            return values.astype(np.int64), None
        return np.where(off, 0.0, values).astype(np.int64), off


def _decimal_units(array: pa.Array, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert to units of 10**-scale; also return which do not fit into 64 bits."""
    if family(array.type) != "decimal":
        scaled = reals(array).values * 10.0**scale
        near = np.rint(scaled)
        close = np.abs(scaled - near) <= 1e-9 * np.maximum(1.0, np.abs(scaled))
        return _whole(np.where(close, near, np.nan))
    return decimals.to_units(array, scale)


def _ticks(
    array: pa.Array, target: pa.DataType
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert dates, times, timestamps or durations to ticks (or days) of `target`."""
    given, wanted = _tick_seconds(array.type), _tick_seconds(target)
    raw = pc.fill_null(_storage(array), 0).to_numpy(zero_copy_only=False)
    raw = raw.astype(np.int64, copy=False)
    if given == wanted:
        return raw, None
    if given[0] * wanted[1] > wanted[0] * given[1]:  # a finer unit is wanted
        factor = given[0] * wanted[1] // (wanted[0] * given[1])
        off = np.abs(raw) > (2**63 - 1) // factor
        return np.where(off, 0, raw) * factor, off if off.any() else None
    factor = wanted[0] * given[1] // (given[0] * wanted[1])
    ticks, rest = np.divmod(raw, factor)
    return ticks, (rest != 0) if rest.any() else None


def _tick_seconds(type: pa.DataType) -> tuple[int, int]:
    """Return the unit of `type` in seconds, as a fraction."""
    if pa.types.is_date32(type):
        return 86_400, 1
    if pa.types.is_date64(type):  # its ticks are read as days, see `_storage`
        return 86_400, 1
    return 1, TICKS[type.unit]


def _storage(array: pa.Array) -> pa.Array:
    """Return the integers that represent dates, times, timestamps or durations."""
    if pa.types.is_date64(array.type):
        array = array.cast(pa.date32(), safe=False)
    return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())


def readable(given: pa.DataType, trained: pa.DataType) -> bool:
    """Return whether arrays of type `given` can be read as type `trained`."""
    a, b = family(given), family(trained)
    if a is None:
        return False
    if a == "nothing" or a == b:
        return True
    return (a in NUMBERS and b in NUMBERS) or (a in MOMENTS and b in MOMENTS)


def from_integers(
    values: np.ndarray, missing: np.ndarray | None, type: pa.DataType
) -> pa.Array:
    """Convert int64 in units of `type` to an array of `type`, clipped to its range."""
    inner, kind = plain(type), family(type)
    if kind == "decimal":
        array = decimals.from_units(values, missing, inner)
    elif kind == "bool":
        array = pa.array(values != 0, inner, mask=missing)
    elif kind == "real":
        array = _floats(values.astype(np.float64), missing, inner)
    elif kind == "integer" and pa.types.is_uint64(inner):
        array = pa.array(values.view(np.uint64) ^ _BIAS, inner, mask=missing)
    elif kind == "integer":
        bounds = np.iinfo(inner.to_pandas_dtype())
        array = pa.array(
            np.clip(values, bounds.min, bounds.max), pa.int64(), mask=missing
        ).cast(inner)
    elif pa.types.is_date64(inner):
        array = pa.array(values.astype(np.int32), pa.date32(), mask=missing).cast(inner)
    elif inner.bit_width == 32:
        array = pa.array(values.astype(np.int32), pa.int32(), mask=missing).view(inner)
    else:
        array = pa.array(values, pa.int64(), mask=missing).view(inner)
    return as_type(array, type)


def from_reals(
    values: np.ndarray, missing: np.ndarray | None, type: pa.DataType
) -> pa.Array:
    """Convert float64 to an array of `type`, rounded where the type is not real."""
    kind = family(type)
    if kind == "real":
        return as_type(_floats(values, missing, plain(type)), type)
    if kind == "decimal":
        return as_type(decimals.from_reals(values, missing, plain(type)), type)
    units = np.nan_to_num(np.rint(values))
    if pa.types.is_uint64(plain(type)):
        unsigned = np.clip(units, 0, np.nextafter(2.0**64, 0)).astype(np.uint64)
        return from_integers((unsigned ^ _BIAS).view(np.int64), missing, type)
    top = np.nextafter(2.0**63, 0)
    return from_integers(np.clip(units, -top, top).astype(np.int64), missing, type)


def _floats(
    values: np.ndarray, missing: np.ndarray | None, type: pa.DataType
) -> pa.Array:
    """Convert to floats of 16, 32 or 64 bits; finite values stay finite."""
    dtype = np.dtype(type.to_pandas_dtype())
    if dtype != np.float64:
        top = float(np.finfo(dtype).max)
        inside = np.clip(values, -top, top)
        values = np.where(np.isinf(values), values, inside).astype(dtype)
    return pa.array(values, type, mask=missing, from_pandas=False)


def dictionary_encoded(array: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    """Convert to a dictionary, of floats or decimals perhaps of a wider type."""
    array = flat(array)
    of, type = pa.types, array.type
    # Arrow makes no dictionary of these.
    if of.is_float16(type):
        array = array.cast(pa.float32())
    elif of.is_decimal32(type) or of.is_decimal64(type):
        array = array.cast(pa.decimal128(type.precision, type.scale))
    return array.dictionary_encode()


def as_type(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Cast to a type: an extension type or an encoding by dictionary or run ends."""
    if array.type == type:
        return array
    if pa.types.is_list_view(type) or pa.types.is_large_list_view(type):
        return _views_of_lists(array, type)
    if isinstance(type, pa.BaseExtensionType):
        storage = as_type(flat(array), type.storage_type)
        return pa.ExtensionArray.from_storage(type, storage)
    if pa.types.is_run_end_encoded(type):
        inner = as_type(array, type.value_type)
        return pc.run_end_encode(inner, run_end_type=type.run_end_type)
    if not pa.types.is_dictionary(type):
        return array.cast(type)
    if pa.types.is_dictionary(array.type):
        indices, dictionary = array.indices, array.dictionary
    else:
        encoded = dictionary_encoded(array)
        indices, dictionary = encoded.indices, encoded.dictionary
    return pa.DictionaryArray.from_arrays(
        indices.cast(type.index_type),
        dictionary.cast(type.value_type),
        ordered=type.ordered,
    )


def _views_of_lists(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Convert lists to views of lists, for which Arrow has no cast."""
    large = pa.types.is_large_list_view(type)
    view = pa.LargeListViewArray if large else pa.ListViewArray
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    sizes = lengths.to_numpy(zero_copy_only=False)
    width = np.int64 if large else np.int32
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])[: len(sizes)]
    return view.from_arrays(
        pa.array(starts.astype(width)),
        pa.array(sizes.astype(width)),
        pc.list_flatten(array).cast(type.value_type),
        type=type,
        mask=array.is_null() if array.null_count else None,
    )


def calendar_range(type: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest value of a type of dates that Python knows.

    They are those of the years 1 to 9999, in units of the type and in any time zone.
    """
    if pa.types.is_date(type):
        return FIRST_DAY, LAST_DAY
    day = SECONDS_OF_DAY * TICKS[type.unit]
    bits = np.iinfo(np.int64)  # a time zone moves a moment by less than a day
    least = max((FIRST_DAY + 1) * day, int(bits.min) + day)
    return least, min(LAST_DAY * day - 1, int(bits.max) - day)


def python_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Convert to Python values that can be shown.

    Dates before year 1 or after 9999 become text, and so do what Python does not have:
    durations of more than 10**9 days and times outside of a day. Bytes become their
    hexadecimal digits.
    """
    inner = plain(array.type)
    if family(inner) == "bytes" and not isinstance(array.type, pa.BaseExtensionType):
        return [None if value is None else value.hex() for value in array.to_pylist()]
    if family(inner) in MOMENTS:
        values = integers(array, inner).values
        least, most = calendar_range(inner)
        if ((values < least) | (values > most)).any():
            array = array.cast(inner).cast(pa.string())
    if family(inner) in ("duration", "time"):
        width = pa.int32() if pa.types.is_time32(inner) else pa.int64()
        ticks = array.cast(inner).cast(width).to_pylist()
        least, most = 0, SECONDS_OF_DAY * TICKS[inner.unit] - 1
        if family(inner) == "duration":
            most = timedelta.max // timedelta(seconds=1) * TICKS[inner.unit]
            least = -most
        if any(tick is not None and not least <= tick <= most for tick in ticks):
            return [None if t is None else f"{t} {inner.unit}" for t in ticks]
    found: list[Any] = array.to_pylist()
    return found


def scalar_text(value: Any) -> str | None:  # any Arrow scalar
    """Return the text of a scalar; None for null."""
    if not value.is_valid:
        return None
    if family(value.type) in (*MOMENTS, "bytes", "duration", "time"):
        return str(python_values(pa.array([value], value.type))[0])
    return str(value.as_py())
