"""Conversion of lists and text to flat arrays of their elements, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow

SYMBOL = pa.int32()
"""Type of a character: its code point."""


@dataclass(frozen=True)
class Lists:
    """The cells of a column of lists.

    Attributes:
        lengths: (n,) int64; 0 where the cell is missing.
        missing: (n,) true where null; None if nowhere.
        fields: Elements of all lists, one after the other, by the name of the field of
            a struct; "" if they are not structs.
    """

    lengths: np.ndarray
    missing: np.ndarray | None
    fields: dict[str, pa.Array]

    @property
    def rows(self) -> np.ndarray:
        """Row of each element, (elements,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def places(self) -> np.ndarray:
        """Position of each element in its list, (elements,)."""
        ends = np.cumsum(self.lengths)
        starts = np.repeat(ends - self.lengths, self.lengths)
        places: np.ndarray = np.arange(len(starts)) - starts
        return places

    def select(self, rows: np.ndarray) -> "Lists":
        """Return the cells where `rows` (n,) is true."""
        kept = pa.array(np.repeat(rows, self.lengths))
        return Lists(
            self.lengths[rows],
            None if self.missing is None else self.missing[rows],
            {name: array.filter(kept) for name, array in self.fields.items()},
        )


def element_types(type: pa.DataType) -> dict[str, pa.DataType] | None:
    """Return the types of the elements of a list or text by field, None without any.

    Characters are code points, bytes are integers. Lists of fixed size in a list are
    taken as one longer list.
    """
    type = arrow.plain(type)
    family = arrow.family(type)
    if family in ("text", "bytes"):
        return {"": SYMBOL if family == "text" else pa.uint8()}
    if not _is_list(type):
        return None
    if pa.types.is_map(type):
        return _element_types({"key": type.key_type, "value": type.item_type})
    inner = type.value_type
    while pa.types.is_fixed_size_list(inner):
        inner = inner.value_type
    if pa.types.is_struct(inner):
        types = {inner.field(k).name: inner.field(k).type for k in range(len(inner))}
    else:
        types = {"": inner}
    return _element_types(types)


def _element_types(types: dict[str, pa.DataType]) -> dict[str, pa.DataType] | None:
    """Return the types of the fields of elements; None if one cannot be modelled."""
    if not types or any(arrow.family(t) in (None, "nothing") for t in types.values()):
        return None
    return types


def is_nested(type: pa.DataType) -> bool:
    """Return whether a type is a list whose elements can be modelled."""
    return _is_list(arrow.plain(type)) and element_types(type) is not None


def can_be_modelled(type: pa.DataType) -> bool:
    """Return whether cells of a type are scalars, or lists that can be modelled."""
    return arrow.family(type) is not None or is_nested(type)


def _is_list(type: pa.DataType) -> bool:
    of = pa.types
    return bool(
        of.is_list(type)
        or of.is_large_list(type)
        or of.is_fixed_size_list(type)
        or of.is_list_view(type)
        or of.is_large_list_view(type)
        or of.is_map(type)
    )


def readable(given: pa.DataType, trained: pa.DataType) -> bool:
    """Return whether arrays of type `given` can be read as type `trained`."""
    if not is_nested(trained):
        return arrow.readable(given, trained)
    if arrow.family(given) == "nothing":
        return True
    if not is_nested(given):
        return False
    mine, known = element_types(given), element_types(trained)
    assert mine is not None and known is not None
    return set(mine) == set(known) and all(
        arrow.readable(mine[name], type) for name, type in known.items()
    )


def lists(array: pa.Array | pa.ChunkedArray) -> Lists:
    """Convert lists, or texts as lists of their characters, to flat arrays."""
    array = arrow.flat(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    missing = arrow.nulls(array)
    if arrow.family(array.type) in ("text", "bytes"):
        return _symbols(array, missing)
    if pa.types.is_null(array.type):
        return Lists(np.zeros(len(array), np.int64), np.ones(len(array), bool), {})
    if pa.types.is_map(array.type):
        entry = pa.struct([("key", array.type.key_type), array.type.item_field])
        array = array.cast(pa.list_(entry))
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    count = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    inner = pc.list_flatten(array)
    while pa.types.is_fixed_size_list(inner.type):
        if inner.null_count:
            raise ValueError("holds nulls in place of inner lists; leave it out")
        count = count * inner.type.list_size
        inner = pc.list_flatten(inner)
    if pa.types.is_struct(inner.type):
        names = [inner.type.field(k).name for k in range(inner.type.num_fields)]
        parts = dict(zip(names, inner.flatten(), strict=True))
    else:
        parts = {"": inner}
    return Lists(count, missing, parts)


def _symbols(array: pa.Array, missing: np.ndarray | None) -> Lists:
    """Convert texts to code points, or bytes to integers."""
    given = array.to_pylist()
    if arrow.family(array.type) == "text":
        joined = "".join(value or "" for value in given)
        points = joined.encode("utf-32-le", "surrogatepass")
        symbols = pa.array(np.frombuffer(points, np.int32))
    else:
        whole = b"".join(value or b"" for value in given)
        symbols = pa.array(np.frombuffer(whole, np.uint8))
    lengths = np.array([len(value or "") for value in given], np.int64)
    return Lists(lengths, missing, {"": symbols})


def assemble(
    arrays: Mapping[str, pa.Array],
    lengths: np.ndarray,
    null: np.ndarray,
    type: pa.DataType,
) -> pa.Array:
    """Build an array of `type` from the elements of all its lists.

    Args:
        arrays: The elements by field, "" if they are not structs.
        lengths: Of the lists, (n,); 0 where null.
        null: (n,).
        type: Text, bytes, a map or a kind of list. Of the entries of a map with equal
            keys the first is kept.
    """
    inner = arrow.plain(type)
    if inner != type:
        return arrow.as_type(assemble(arrays, lengths, null, inner), type)
    if pa.types.is_map(inner):
        return _map(arrays, lengths, null, inner)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if arrow.family(inner) in ("text", "bytes"):
        return _words(arrays[""], ends, null, type)
    if set(arrays) == {""}:
        values = arrays[""]
    else:
        values = pa.StructArray.from_arrays(list(arrays.values()), list(arrays))
    sizes, deepest = [], inner.value_type
    while pa.types.is_fixed_size_list(deepest):
        sizes.append(deepest.list_size)
        deepest = deepest.value_type
    for size in reversed(sizes):
        values = pa.FixedSizeListArray.from_arrays(values, size)
        ends = ends // size
    if pa.types.is_fixed_size_list(inner):
        return _fixed(values, ends, null, inner)
    return _lists(values, ends, null, inner)


def _lists(
    values: pa.Array, ends: np.ndarray, null: np.ndarray, type: pa.DataType
) -> pa.Array:
    """Build lists, or views of lists, from their elements and the ends of all lists."""
    mask = pa.array(null) if null.any() else None
    if pa.types.is_large_list(type) or pa.types.is_large_list_view(type):
        made = pa.LargeListArray.from_arrays(pa.array(ends), values, mask=mask)
    else:
        offsets = pa.array(ends.astype(np.int32))
        made = pa.ListArray.from_arrays(offsets, values, mask=mask)
    return arrow.as_type(made, type)


def _map(
    arrays: Mapping[str, pa.Array],
    lengths: np.ndarray,
    null: np.ndarray,
    type: pa.DataType,
) -> pa.Array:
    """Build maps from their keys and values, the first of those with equal keys."""
    keys = arrays["key"].cast(arrow.plain(type.key_type))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    codes = keys.dictionary_encode().indices
    codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
    entries = np.stack([rows, codes], axis=1)
    first = np.sort(np.unique(entries, axis=0, return_index=True)[1])
    first = first[codes[first] >= 0]  # a key is never null
    counts = np.bincount(rows[first], minlength=len(lengths))
    ends = np.concatenate([[0], np.cumsum(counts)])
    offsets = pa.array(ends.astype(np.int32), mask=np.append(null, False))
    taken = [a.take(pa.array(first)) for a in (keys, arrays["value"])]
    return pa.MapArray.from_arrays(offsets, *taken, type=type)


def _fixed(
    values: pa.Array, ends: np.ndarray, null: np.ndarray, type: pa.DataType
) -> pa.Array:
    """Build lists of a fixed size, in which nulls take up places, too."""
    size = type.list_size
    if null.any():
        taken = ends[:-1, None] + np.arange(size)
        places = pa.array(taken.ravel(), mask=np.repeat(null, size))
        values = values.take(places)
        made = pa.FixedSizeListArray.from_arrays(values, size, mask=pa.array(null))
    else:
        made = pa.FixedSizeListArray.from_arrays(values, size)
    return made.cast(type)


def _words(
    symbols: pa.Array, ends: np.ndarray, null: np.ndarray, type: pa.DataType
) -> pa.Array:
    """Build texts from code points, or bytes from integers; a null becomes U+FFFD."""
    if arrow.family(type) == "text":
        codes = pc.fill_null(symbols, 0xFFFD).to_numpy(zero_copy_only=False)
        whole: Any = codes.astype("<u4").tobytes().decode("utf-32-le", "replace")
    else:
        codes = pc.fill_null(symbols, 0).to_numpy(zero_copy_only=False)
        whole = codes.astype(np.uint8).tobytes()
    words = [
        None if gone else whole[a:b]
        for a, b, gone in zip(ends[:-1], ends[1:], null, strict=True)
    ]
    plain = arrow.plain(type)
    return arrow.as_type(pa.array(words, plain), type)
