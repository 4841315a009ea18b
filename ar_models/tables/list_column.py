"""Columns whose cells hold many values: images, sequences and text.

The variables of a list or text are those of its elements, one position after another.
Elements are alike: one column, or one for each field of a struct, describes those of
all positions. Where lengths vary, an integer variable with the length comes first, and
the variables of positions beyond it are absent.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, Coded, Column
from ar_models.tables.list_cells import Lists, assemble, element_types, lists
from ar_models.variables import Variable


@dataclass(frozen=True)
class ListColumn(Column):
    """A column of lists or text.

    Attributes:
        elements: Columns that describe an element: one, or one per field of a struct.
        places: Length of the longest list in training.
        shortest: Length of the shortest list in training.
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
        """Number of variables of a position."""
        return sum(len(element.variables) for element in self.elements)

    @property
    def first(self) -> int:
        """Number of variables before those of the positions: state and length."""
        return len(self.variables) - self.places * self.width

    @property
    def varies(self) -> bool:
        """Return whether the length of the lists is a variable."""
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
        """Encode elements as (n, places, width) with log-slopes (n,).

        Reasons why rows are out of support are written to `out_of_support`.
        """
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
        """Return which rows are null, and the lengths of the lists of the others."""
        if self.states:
            null = (x[:, 0] != 0) | np.isnan(x[:, 0])
        else:
            null = np.isnan(x).all(axis=1)
        if not self.varies:
            return null, np.where(null, 0, self.places)
        stated = np.nan_to_num(np.rint(x[:, self.first - 1])).astype(np.int64)
        return null, np.where(null, 0, np.clip(stated, self.shortest, self.places))

    def place_of(self, variable: int) -> tuple[int, int, int] | None:
        """Return the position, field and index in it of a variable; None if before."""
        if variable < self.first:
            return None
        place, rest = divmod(variable - self.first, self.width)
        for field, element in enumerate(self.elements):
            if rest < len(element.variables):
                return place, field, rest
            rest -= len(element.variables)
        raise AssertionError("beyond the last variable")

    def name_of(self, place: int) -> str:
        """Return the name of a position, such as its row and column in an image."""
        if not self.shape:
            return f"place {place}"
        _, width, channels = self.shape
        row, rest = divmod(place, width * channels)
        column, channel = divmod(rest, channels)
        last = f", channel {channel}" if channels > 1 else ""
        return f"row {row}, column {column}{last}"

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        """Convert lengths to an array of integers."""
        return arrow.from_integers(np.rint(values).astype(np.int64), None, pa.int64())

    def labels(self, type: pa.DataType) -> list[str]:
        return list(self.states)

    def to_dict(self) -> dict[str, Any]:
        own = asdict(replace(self, elements=()))
        elements = [element.to_dict() for element in self.elements]
        return {"form": self.form, **own, "elements": elements}


def variables_of(
    name: str,
    elements: tuple[Column, ...],
    *,
    places: int,
    state: Variable | None,
    length: Variable | None,
    apart: bool,
) -> tuple[Variable, ...]:
    """Return the variables of a column of lists, named after their positions.

    Args:
        name: Name of the column.
        elements: Columns that describe an element.
        places: Number of positions.
        state: Variable that says whether the cell is null; None: no cell is.
        length: Variable with the length of the list; None: it does not vary.
        apart: Whether orderings may permute the positions.
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
