"""Structs as columns: field `b` of the struct `a` is the column `a.b`, and back.

A column of booleans with the name of the struct tells whether the struct is there,
which keeps a null struct apart from one whose fields are null. The place of a column in
its struct stands in the metadata of its field.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEY = b"struct_place"
"""Key of the place of a column in its struct in the metadata of a field."""

Cells = Mapping[str, pa.Array | pa.ChunkedArray]
"""Cells of some rows by column."""


@dataclass(frozen=True)
class Place:
    """The place of a column in the struct that it comes from.

    Attributes:
        path: Names of the structs from the outermost on, and of the field.
        is_presence: Whether the column tells if the struct at `path` is there.
        nullable: Whether the field, or the struct, may be null where it is stored.
    """

    path: tuple[str, ...]
    is_presence: bool = False
    nullable: bool = True

    @property
    def root(self) -> str:
        """Name of the outermost struct."""
        return self.path[0]

    @property
    def name(self) -> str:
        """Name of the column: the path, joined by dots."""
        return ".".join(self.path)


def place_of(field: pa.Field) -> Place | None:
    """Return the place of a column in its struct, or None if it has none."""
    found = (field.metadata or {}).get(KEY)
    if found is None:
        return None
    content = json.loads(found)
    return Place(**{**content, "path": tuple(content["path"])})


def is_presence(field: pa.Field) -> bool:
    """Return whether a column tells if a struct is there."""
    place = place_of(field)
    return place is not None and place.is_presence


def bare(field: pa.Field) -> pa.Field:
    """Return a field without metadata, except for its place in a struct."""
    found = (field.metadata or {}).get(KEY)
    return field.with_metadata(None if found is None else {KEY: found})


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which structs are replaced by columns of their fields.

    Raises:
        ValueError: A field and another column get the same name.
    """
    fields = [flat for field in schema for flat in _flat_fields(field)]
    counts = Counter(field.name for field in fields)
    for field in fields:
        place = place_of(field)
        if place and not place.is_presence and counts[field.name] > 1:
            struct = ".".join(place.path[:-1])
            raise ValueError(
                f"column {field.name!r} and field {place.path[-1]!r} of the struct "
                f"{struct!r} have the same name; rename one of them"
            )
    return pa.schema(fields, schema.metadata)


def _flat_fields(
    field: pa.Field, above: tuple[str, ...] = (), nullable: bool = False
) -> Iterator[pa.Field]:
    """Yield the columns of a field that lies in structs of the names `above`."""
    path, is_struct = (*above, field.name), pa.types.is_struct(field.type)
    if not above and not is_struct:
        yield field
        return
    place = Place(path, is_struct, field.nullable)
    metadata = {KEY: json.dumps(asdict(place)).encode()}
    if not is_struct:
        yield pa.field(place.name, field.type, nullable or field.nullable, metadata)
        return
    yield pa.field(place.name, pa.bool_(), False, metadata)
    for inner in field.type:
        yield from _flat_fields(inner, path, nullable or field.nullable)


def flatten(table: pa.Table, known: pa.Schema | None = None) -> pa.Table:
    """Return a table in which structs are replaced by columns of their fields.

    Args:
        table: The table.
        known: Schema with columns in place of structs. Those that a struct of the table
            lacks are null.

    Raises:
        ValueError: A field and another column get the same name.
    """
    found = [f.name for f in table.schema if pa.types.is_struct(f.type)]
    if not found:
        return table
    schema = flat_schema(table.schema)
    arrays = [flat for column in table.columns for flat in _flat_arrays(column)]
    flat = pa.Table.from_arrays(arrays, schema=schema)
    for field in known or ():
        if _root_of(field) in found and field.name not in schema.names:
            flat = flat.append_column(field, absent(field, len(flat)))
    return flat


def _root_of(field: pa.Field) -> str | None:
    """Return the name of the outermost struct of a column, or None."""
    place = place_of(field)
    return None if place is None else place.root


def types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the types of the structs that columns stand for, by name.

    Args:
        schema: Schema with columns in place of structs.
    """
    nested = nest(schema.empty_table()).schema
    return {f.name: f.type for f in nested if f.name in map(_root_of, schema)}


def _flat_arrays(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """Yield the columns of a column, in the order of `_flat_fields`."""
    if not pa.types.is_struct(column.type):
        yield column
        return
    yield column.is_valid()
    for inner in column.flatten():
        yield from _flat_arrays(inner)


def absent(field: pa.Field, rows: int) -> pa.Array:
    """Return the cells of a column that is not stored: nulls, or false for a struct."""
    if is_presence(field):
        return pa.array(np.zeros(rows, bool))
    return pa.nulls(rows, field.type)


def stored_paths(names: Collection[str], fields: Iterable[pa.Field]) -> list[str]:
    """Return the paths by which a file is asked for columns, as few as possible.

    Args:
        names: Names of the columns.
        fields: Fields of all columns. That a struct is there is read with any of its
            fields.
    """
    present = {field.name for field in fields if is_presence(field)}
    plain = [name for name in names if name not in present]
    alone = [
        name
        for name in names
        if name in present and not any(n.startswith(f"{name}.") for n in plain)
    ]
    return plain + alone


def with_fields(names: Iterable[str], schema: pa.Schema) -> tuple[str, ...]:
    """Return names of columns, those of structs followed by the names of their fields.

    Args:
        names: Names of columns.
        schema: Schema that has columns in place of structs.
    """
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if name not in schema.names or not is_presence(schema.field(name)):
            continue
        struct = place_of(schema.field(name))
        for field in schema:
            place = place_of(field)
            if struct and place and place.path[: len(struct.path)] == struct.path:
                found[field.name] = None
    return tuple(found)


def null_structs(name: str, schema: pa.Schema, cells: Cells) -> np.ndarray | None:
    """Return the rows in which a column lies in a struct that is null, (n,) bool.

    Args:
        name: Name of the column.
        schema: Fields of the columns, with their places in structs.
        cells: The rows by column.

    Returns:
        The rows, or None if there is no column of a struct around the column.
    """
    place = place_of(schema.field(name))
    above = range(1, len(place.path) if place else 0)
    structs = [".".join(place.path[:depth]) for depth in above if place]
    there = [cells[struct] for struct in structs if struct in cells]
    if not there:
        return None
    nulls = [~np.asarray(pc.fill_null(column, True)) for column in there]
    return np.asarray(np.any(nulls, axis=0))


def columns_of(table: pa.Table) -> Cells:
    """Return the columns of a table by name."""
    return dict(zip(table.column_names, table.columns, strict=True))


def contradictory(table: pa.Table, schema: pa.Schema) -> np.ndarray:
    """Return the rows with a field that has a value in a null struct, (n,) bool.

    Args:
        table: The rows.
        schema: Fields of the columns, with their places in structs.
    """
    wrong, cells = np.zeros(len(table), bool), columns_of(table)
    for field in schema:
        null = null_structs(field.name, schema, cells) if field.name in cells else None
        if null is not None and null.any():
            wrong |= null & _has_value(field, cells[field.name])
    return wrong


def _has_value(field: pa.Field, cells: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the rows in which a field has a value, or a struct is there, (n,) bool."""
    values = pc.fill_null(cells, False) if is_presence(field) else cells.is_valid()
    return np.asarray(values)


def emptied(
    arrays: Mapping[str, pa.Array], schema: pa.Schema, given: pa.Table | None
) -> dict[str, pa.Array]:
    """Return columns without the values of fields in null structs.

    Args:
        arrays: The columns, n rows.
        schema: Fields of the columns, with their places in structs.
        given: Known cells of the first rows, which keep their values.
    """
    found = dict(arrays)
    known = {} if given is None else columns_of(given)
    for field in schema:
        name = field.name
        null = null_structs(name, schema, found) if name in found else None
        if null is None or not null.any():
            continue
        if name in known:
            null[: len(known[name])] &= ~_has_value(field, known[name])
        if is_presence(field):
            found[name] = pc.and_(found[name], pa.array(~null))
        else:
            places = np.arange(len(null))
            found[name] = found[name].take(pa.array(places, mask=null))
    return found


def nest(table: pa.Table) -> pa.Table:
    """Return a table in which columns are structs again; inverse of `flatten`.

    A struct stands in the place of the column that tells whether it is there. Fields
    without that column remain columns.
    """
    places = {field.name: place_of(field) for field in table.schema}
    if not any(places.values()):
        return table
    structs = {p.path: p for p in places.values() if p and p.is_presence}
    filled = {
        place.path[:depth]
        for place in places.values()
        if place and not place.is_presence
        for depth in range(1, len(place.path))
    }
    arrays, fields = [], []
    for field in table.schema:
        place = places[field.name]
        path = place.path if place else ()
        if path in structs and path in filled and len(path) == 1:
            array, nested = _nested(table, structs[path], filled)
            arrays.append(array)
            fields.append(nested)
        elif path[:1] not in structs or path[:1] not in filled:
            arrays.append(table.column(field.name))
            fields.append(_unplaced(field))
    schema = pa.schema(fields, table.schema.metadata)
    return pa.Table.from_arrays(arrays, schema=schema)


def _unplaced(field: pa.Field) -> pa.Field:
    """Return a field without its place in a struct."""
    metadata = {k: v for k, v in (field.metadata or {}).items() if k != KEY}
    return field.with_metadata(metadata or None)


def _nested(
    table: pa.Table, struct: Place, filled: Collection[tuple[str, ...]]
) -> tuple[pa.Array, pa.Field]:
    """Return the array and the field of a struct.

    Args:
        table: The columns.
        struct: Place of the struct.
        filled: Paths of the structs that have fields.
    """
    there = pc.fill_null(table.column(struct.name).combine_chunks(), False)
    arrays, fields = [], []
    for field in table.schema:
        place = place_of(field)
        if place is None or place.path[:-1] != struct.path:
            continue
        if not place.is_presence:
            array = table.column(field.name).combine_chunks()
            inner = _unplaced(field).with_name(place.path[-1])
        elif place.path in filled:
            array, inner = _nested(table, place, filled)
        else:
            continue
        nullable = bool(place.nullable or array.filter(there).null_count)
        array = array if nullable else _without_nulls(array)
        arrays.append(array)
        fields.append(inner.with_nullable(bool(nullable or array.null_count)))
    built = pa.StructArray.from_arrays(arrays, fields=fields, mask=pc.invert(there))
    may = bool(struct.nullable or built.null_count)
    return built, pa.field(struct.path[-1], built.type, may)


def _without_nulls(array: pa.Array) -> pa.Array:
    """Return an array with a value of its own in place of nulls, if it has one.

    Parquet wants fields that may not be null without nulls, also in null structs.
    """
    valid = np.flatnonzero(np.asarray(array.is_valid()))
    if not array.null_count or not len(valid):
        return array
    places = np.full(len(array), valid[0])
    places[valid] = valid
    return array.take(pa.array(places))
