"""Sketches of columns that are not modelled, from which samples get new keys."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow, schema_text, structs, text_pattern
from ar_models.tables.key_columns import KeyColumn
from ar_models.tables.list_cells import Lists
from tasks.data.cells import Cells, select_cells, to_cells
from tasks.data.division import DividedFragment, PreparePlan
from tasks.data.hashing import cell_hashes
from tasks.data.sketches import NumberSketch, Sketch

SIZE = 1024
"""Number of different values that a sketch holds; it estimates their number to 3 %."""


@dataclass(frozen=True)
class KeySketch:
    """Mergeable summary of a column that may hold keys.

    Attributes:
        rows: Number of rows.
        missing: Number of nulls.
        repeats: Whether a value was seen twice.
        hashes: The smallest hashes of different values, ascending.
        texts: The texts with these hashes; empty if the values are no texts.
        high: Greatest integer, in units of the type; None of other values.
    """

    rows: int = 0
    missing: int = 0
    repeats: bool = False
    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    texts: tuple[str, ...] = ()
    high: int | None = None

    @property
    def distinct(self) -> int:
        """Number of different values, estimated if there are many."""
        if len(self.hashes) < SIZE:
            return len(self.hashes)
        return round((SIZE - 1) / (int(self.hashes[-1]) / 2.0**64))

    def merge(self, other: "KeySketch") -> "KeySketch":
        """Return the sketch of the rows of both."""
        hashes = np.concatenate([self.hashes, other.hashes])
        unique, places = np.unique(hashes, return_index=True)
        texts = self.texts + other.texts
        highs = [s.high for s in (self, other) if s.high is not None]
        return KeySketch(
            self.rows + other.rows,
            self.missing + other.missing,
            self.repeats or other.repeats or len(unique) < len(hashes),
            unique[:SIZE],
            tuple(texts[place] for place in places[:SIZE]) if texts else (),
            max(highs, default=None),
        )


def sketch_keys(plan: PreparePlan, divided: DividedFragment) -> dict[str, KeySketch]:
    """Sketch the training rows of the ids, and of texts that may be left out."""
    is_train = divided.codes[divided.has_text] == 0
    readable = divided.table.filter(pa.array(divided.has_text))
    found = {}
    for name in plan.data.id:
        type = readable.schema.field(name).type
        if arrow.family(type) in ("text", "integer", "real", "bytes"):
            cells = to_cells(readable.column(name), type)
            found[name] = sketch_cells(select_cells(cells, is_train), type)
    for name, representation in plan.representations.items():
        if representation == "words":
            cells = select_cells(divided.cells[name], is_train)
            found[name] = sketch_cells(cells, plan.types[name])
    return found


def sketch_cells(cells: Cells, type: pa.DataType) -> KeySketch:
    """Sketch the cells of a column of texts, bytes or numbers."""
    assert not isinstance(cells, Lists)
    regular = np.ones(len(cells.values), bool)
    for mask in (cells.missing, cells.off):
        if mask is not None:
            regular &= ~mask
    values = cells.values[regular]
    high, texts = None, tuple[str, ...]()
    if cells.words is not None:
        values, counts = np.unique(values, return_counts=True)
        cells = arrow.Cells(values, words=cells.words)
    else:
        if values.dtype == np.float64:
            values = values[np.isfinite(values)]
        values, counts = np.unique(values, return_counts=True)
        cells = arrow.Cells(values)
        if len(values) and (values == np.floor(values)).all():
            high = min(int(values[-1]), 2**63 - 1)
    hashes = cell_hashes(cells)
    order = np.argsort(hashes)[:SIZE]
    if cells.words is not None and arrow.family(type) == "text":
        kept = cells.words.take(pa.array(values[order]))
        texts = tuple(kept.to_pylist())
    return KeySketch(
        len(regular),
        int((~regular).sum()),
        bool((counts > 1).any()),
        hashes[order],
        texts,
        high,
    )


def key_columns(
    plan: PreparePlan,
    schema: pa.Schema,
    modelled: Collection[str],
    keys: Mapping[str, KeySketch],
    sketches: Mapping[str, Sketch],
) -> tuple[KeyColumn, ...]:
    """Return the columns that samples have with new values.

    Args:
        plan: Which columns the dataset has besides those that are excluded.
        schema: Schema of the dataset.
        modelled: Columns that the encoder decodes.
        keys: Sketches of ids and texts.
        sketches: Sketches of the columns that may be modelled.
    """
    found = []
    for place, name in enumerate(plan.carried):
        if name in modelled:
            continue
        own = pa.schema([structs.bare(schema.field(name))])
        column = KeyColumn(schema_text.to_text(own), place)
        sketch, numbers = keys.get(name), sketches.get(name)
        if sketch is not None:
            column = _of_keys(column, sketch)
        elif isinstance(numbers, NumberSketch):
            column = _of_numbers(column, numbers)
        found.append(column)
    return tuple(found)


def _of_keys(column: KeyColumn, sketch: KeySketch) -> KeyColumn:
    """Return a column with what a sketch of ids or texts says."""
    pattern = text_pattern.learn_pattern(sketch.texts)
    return replace(_counted(column, sketch), high=sketch.high, pattern=pattern)


def _of_numbers(column: KeyColumn, sketch: NumberSketch) -> KeyColumn:
    """Return a column with what a sketch of numbers says; only integers are keys."""
    family = arrow.family(column.arrow_field.type)
    is_key = family in ("integer", "real") and sketch.is_whole and not sketch.off
    high = int(sketch.high) if is_key and sketch.high is not None else None
    return replace(_counted(column, sketch), high=high)


def _counted(column: KeyColumn, sketch: KeySketch | NumberSketch) -> KeyColumn:
    """Return a column with the numbers of rows, nulls and different values."""
    return replace(
        column,
        rows=sketch.rows,
        missing=sketch.missing,
        distinct=sketch.distinct,
        is_unique=not sketch.repeats,
    )
