"""Columns whose cells hold many values: images, sequences and text.

A list, or a text, is its places one after the other; each holds the variables of one
element. Elements are alike: one column, or one for each field of a struct, describes
those of all places. Where lengths vary, an integer variable with the length stands
first, and the places beyond it are absent.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, Coded, Column
from ar_models.variables import Variable

SYMBOL = pa.int32()
"""Type of a character: its code point."""


@dataclass(frozen=True)
class Lists:
    """The cells of a column of lists.

    Attributes:
        lengths: (n,) int64; 0 where the cell is missing.
        missing: (n,) true where null; None if nowhere.
        fields: The elements of all lists, one after the other: by the name of the
            field, or by "" where they are no structs.
    """

    lengths: np.ndarray
    missing: np.ndarray | None
    fields: dict[str, pa.Array]

    @property
    def rows(self) -> np.ndarray:
        """The row that each element stands in, (elements,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def places(self) -> np.ndarray:
        """Its place in the list, (elements,)."""
        ends = np.cumsum(self.lengths)
        starts = np.repeat(ends - self.lengths, self.lengths)
        places: np.ndarray = np.arange(len(starts)) - starts
        return places

    def select(self, rows: np.ndarray) -> "Lists":
        """The cells where `rows` (n,) is true."""
        kept = pa.array(np.repeat(rows, self.lengths))
        return Lists(
            self.lengths[rows],
            None if self.missing is None else self.missing[rows],
            {name: array.filter(kept) for name, array in self.fields.items()},
        )


def element_types(type: pa.DataType) -> dict[str, pa.DataType] | None:
    """The types of what a list or a text holds, by field; None if it holds nothing.

    Characters are code points, bytes are integers. Lists of fixed size in a list are
    taken as one longer list.
    """
    type = arrow.plain(type)
    family = arrow.family(type)
    if family in ("text", "bytes"):
        return {"": SYMBOL if family == "text" else pa.uint8()}
    if not _is_list(type):
        return None
    inner = type.value_type
    while pa.types.is_fixed_size_list(inner):
        inner = inner.value_type
    if pa.types.is_struct(inner):
        types = {inner.field(k).name: inner.field(k).type for k in range(len(inner))}
    else:
        types = {"": inner}
    if not types or any(arrow.family(t) in (None, "nothing") for t in types.values()):
        return None
    return types


def is_nested(type: pa.DataType) -> bool:
    """Whether a type is a list whose elements can be modelled."""
    return _is_list(arrow.plain(type)) and element_types(type) is not None


def _is_list(type: pa.DataType) -> bool:
    of = pa.types
    return bool(
        of.is_list(type) or of.is_large_list(type) or of.is_fixed_size_list(type)
    )


def readable(given: pa.DataType, trained: pa.DataType) -> bool:
    """Whether arrays of type `given` can stand for a column of type `trained`."""
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
    """The cells of a column of lists, or of texts as lists of their characters."""
    array = arrow.flat(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    missing = arrow.nulls(array)
    if arrow.family(array.type) in ("text", "bytes"):
        return _symbols(array, missing)
    if pa.types.is_null(array.type):
        return Lists(np.zeros(len(array), np.int64), np.ones(len(array), bool), {})
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
    """Texts as code points, or bytes as integers."""
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


@dataclass(frozen=True)
class ListColumn(Column):
    """A column of lists or text.

    Attributes:
        elements: What a place holds: a column, or one per field of a struct.
        places: Length of the longest list in training.
        shortest: Length of the shortest.
        shape: Height, width and channels of an image; () of a sequence.
        states: Names of the codes of the state variable, () if there is none.
    """

    elements: tuple[Column, ...]
    places: int
    shortest: int
    shape: tuple[int, ...] = ()
    states: tuple[str, ...] = ()

    form: ClassVar[str] = "list"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    @property
    def width(self) -> int:
        """Variables of a place."""
        return sum(len(element.variables) for element in self.elements)

    @property
    def first(self) -> int:
        """Variables before those of the places: state and length."""
        return len(self.variables) - self.places * self.width

    @property
    def varies(self) -> bool:
        """Whether there is a variable with the length."""
        return self.shortest < self.places

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        place = [m for element in self.elements for m in element.mean_log_slopes]
        return (0.0,) * self.first + tuple(place) * self.places

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        try:
            given = lists(array)
        except ValueError as error:
            raise ValueError(f"column {self.name!r} {error}") from error
        count = len(given.lengths)
        out_of_support = np.zeros(count, np.int8)
        wrong = (given.lengths > self.places) | (given.lengths < self.shortest)
        out_of_support[wrong] = OUT_OF_RANGE
        null = given.missing
        if null is not None:
            out_of_support[null] = IN_SUPPORT if self.states else MISSING
        body, log_slope = self._encode_places(given, type, out_of_support)
        x = np.empty((count, len(self.variables)), np.float32)
        x[:, self.first :] = body.reshape(count, -1)
        if self.states:
            x[:, 0] = 0 if null is None else null
        if self.varies:
            x[:, self.first - 1] = given.lengths
            if null is not None:
                x[null, self.first - 1] = np.nan
        x[out_of_support != IN_SUPPORT] = np.nan
        if log_slope is not None:
            log_slope[out_of_support != IN_SUPPORT] = 0.0
        return Coded(x, out_of_support, log_slope)

    def _encode_places(
        self, given: Lists, type: pa.DataType, out_of_support: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(n, places, width) and log-slopes (n,); notes the rows out of support."""
        count = len(given.lengths)
        body = np.full((count, self.places, self.width), np.nan, np.float32)
        log_slope: np.ndarray | None = None
        rows, places = given.rows, given.places
        regular = not out_of_support.any() and not self.varies and given.missing is None
        fits = slice(None) if regular else out_of_support[rows] == IN_SUPPORT
        types = element_types(type)
        assert types is not None
        start = 0
        for element, (name, of) in zip(self.elements, types.items(), strict=True):
            stop = start + len(element.variables)
            if len(rows):
                coded = element.encode(given.fields[name], of)
                if regular:
                    shape = count, self.places, stop - start
                    body[:, :, start:stop] = coded.x.reshape(shape)
                else:
                    body[rows[fits], places[fits], start:stop] = coded.x[fits]
                own_out_of_support = coded.out_of_support[fits]
                if own_out_of_support.any():
                    np.maximum.at(out_of_support, rows[fits], own_out_of_support)
                if coded.log_slope is not None:
                    slopes = coded.log_slope[fits]
                    own = np.bincount(rows[fits], slopes, minlength=count)
                    log_slope = own if log_slope is None else log_slope + own
            start = stop
        if log_slope is None and any(e.form == "real" for e in self.elements):
            log_slope = np.zeros(count)
        return body, log_slope

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        null, lengths = self._lengths(x)
        body = x[:, self.first :].reshape(len(x), self.places, self.width)
        present = np.arange(self.places) < lengths[:, None]
        types = element_types(type)
        assert types is not None
        arrays, start = {}, 0
        for element, (name, of) in zip(self.elements, types.items(), strict=True):
            stop = start + len(element.variables)
            arrays[name] = element.decode(body[present][:, start:stop], of, rng)
            start = stop
        return assemble(arrays, lengths, null, type)

    def _lengths(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rows are null, and how long the lists of the others are."""
        if self.states:
            null = (x[:, 0] != 0) | np.isnan(x[:, 0])
        else:
            null = np.isnan(x).all(axis=1)
        if not self.varies:
            return null, np.where(null, 0, self.places)
        stated = np.nan_to_num(np.rint(x[:, self.first - 1])).astype(np.int64)
        return null, np.where(null, 0, np.clip(stated, self.shortest, self.places))

    def place_of(self, variable: int) -> tuple[int, int, int] | None:
        """Place, field and variable within it of one of the column's; None: before."""
        if variable < self.first:
            return None
        place, rest = divmod(variable - self.first, self.width)
        for field, element in enumerate(self.elements):
            if rest < len(element.variables):
                return place, field, rest
            rest -= len(element.variables)
        raise AssertionError("beyond the last variable")

    def name_of(self, place: int) -> str:
        """A place as people count: row, column and channel of an image, from 0."""
        if not self.shape:
            return f"place {place}"
        _, width, channels = self.shape
        row, rest = divmod(place, width * channels)
        column, channel = divmod(rest, channels)
        last = f", channel {channel}" if channels > 1 else ""
        return f"row {row}, column {column}{last}"

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        """The lengths themselves."""
        return arrow.from_integers(np.rint(values).astype(np.int64), None, pa.int64())

    def labels(self, type: pa.DataType) -> list[str]:
        return list(self.states)

    def to_dict(self) -> dict[str, Any]:
        own = asdict(replace(self, elements=()))
        elements = [element.to_dict() for element in self.elements]
        return {"form": self.form, **own, "elements": elements}


def assemble(
    arrays: Mapping[str, pa.Array],
    lengths: np.ndarray,
    null: np.ndarray,
    type: pa.DataType,
) -> pa.Array:
    """An array of `type` from the elements of all its lists.

    Args:
        arrays: The elements by field, "" if they are no structs.
        lengths: Of the lists, (n,); 0 where null.
        null: (n,).
        type: Text, bytes or a kind of list.
    """
    inner = arrow.plain(type)
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
    mask = pa.array(null) if null.any() else None
    if pa.types.is_fixed_size_list(inner):
        return _fixed(values, ends, null, inner)
    if pa.types.is_large_list(inner):
        made = pa.LargeListArray.from_arrays(pa.array(ends), values, mask=mask)
    else:
        offsets = pa.array(ends.astype(np.int32))
        made = pa.ListArray.from_arrays(offsets, values, mask=mask)
    return made.cast(inner)


def _fixed(
    values: pa.Array, ends: np.ndarray, null: np.ndarray, type: pa.DataType
) -> pa.Array:
    """Lists of a fixed size, for which nulls take up places too."""
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
    """Texts from code points, or bytes from integers; a null symbol is U+FFFD."""
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


def variables_of(
    name: str,
    elements: tuple[Column, ...],
    *,
    places: int,
    state: Variable | None,
    length: Variable | None,
    apart: bool,
) -> tuple[Variable, ...]:
    """The variables of a column of lists, named after their places.

    Args:
        name: Of the column.
        elements: What a place holds.
        places: How many there are.
        state: Tells whether the cell is null, if some are.
        length: Of the list, if it varies.
        apart: Whether orderings may take the places in any order.
    """
    variables: list[Variable] = [v for v in (state, length) if v is not None]
    parent = len(variables) - 1 if variables else None
    for place in range(places):
        for element in elements:
            start = len(variables)
            for v in element.variables:
                suffix = v.name.removeprefix(element.name)
                field = f".{element.name}" if element.name else ""
                own = replace(
                    v,
                    name=f"{name}[{place}]{field}{suffix}",
                    group=place if apart else 0,
                    place=place,
                )
                if v.parent is not None:
                    own = replace(own, parent=v.parent + start)
                elif length is not None:
                    own = replace(
                        own, parent=parent, parent_code=place + 1, at_least=True
                    )
                elif state is not None:
                    own = replace(own, parent=parent)
                variables.append(own)
    return tuple(variables)
