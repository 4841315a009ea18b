"""Tests of structs as columns, and of columns as structs."""

import itertools
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.tables import structs, text_formats

INNER = pa.struct([("u", pa.float64()), ("v", pa.list_(pa.int64()))])
TYPE = pa.struct(
    [
        ("x", pa.int64()),
        pa.field("y", pa.string(), nullable=False),
        ("z", INNER),
    ]
)
INNERS = [None, *({"u": u, "v": v} for u in (None, 1.5) for v in (None, [], [1, 2]))]
STRUCTS = [
    None,
    *({"x": x, "y": "ab"[x is None], "z": z} for x in (None, 3) for z in INNERS),
]


def table_of(rows: list[Any]) -> pa.Table:
    numbers = pa.array(range(len(rows)), pa.int64())
    return pa.table({"k": numbers, "a": pa.array(rows, TYPE), "q": numbers})


@pytest.mark.parametrize(
    "rows", [[], STRUCTS, *map(list, itertools.combinations(STRUCTS, 2))]
)
def test_columns_become_the_same_structs_again(rows: list[Any]) -> None:
    table = table_of(rows)
    flat = structs.flatten(table)
    names = ["k", "a", "a.x", "a.y", "a.z", "a.z.u", "a.z.v", "q"]
    assert flat.column_names == names
    nested = structs.nest(flat)
    assert nested.to_pylist() == table.to_pylist()
    if any(rows):
        assert nested.schema.equals(table.schema)
    sink = pa.BufferOutputStream()
    pq.write_table(nested, sink)
    again = pq.read_table(pa.py_buffer(sink.getvalue()))
    assert again.to_pylist() == table.to_pylist()


def test_null_structs_are_not_structs_of_nulls() -> None:
    empty = {"x": None, "y": "a", "z": {"u": None, "v": None}}
    flat = structs.flatten(table_of([None, empty, {**empty, "z": None}]))
    assert flat["a"].to_pylist() == [False, True, True]
    assert flat["a.z"].to_pylist() == [False, True, False]
    assert flat["a.z.u"].null_count == flat["a.x"].null_count == 3


def test_a_field_without_its_struct_remains_a_column() -> None:
    flat = structs.flatten(table_of([{"x": 1, "y": "a", "z": None}]))
    part = structs.nest(flat.select(["a.x", "k"]))
    assert part.column_names == ["a.x", "k"]
    assert structs.place_of(part.schema.field("a.x")) is None
    without = structs.nest(flat.select(["a", "a.x", "a.z"]))
    assert without.to_pylist() == [{"a": {"x": 1}}]


def test_a_field_and_a_column_of_one_name_are_told() -> None:
    schema = pa.schema([("a", pa.struct([("b", pa.int64())])), ("a.b", pa.int64())])
    message = "column 'a.b' and field 'b' of the struct 'a' have the same name"
    with pytest.raises(ValueError, match=message):
        structs.flat_schema(schema)
    with pytest.raises(ValueError, match=message):
        structs.flatten(schema.empty_table())


def test_names_of_structs_stand_for_their_fields() -> None:
    schema = structs.flat_schema(table_of([]).schema)
    all_names = ("a", "a.x", "a.y", "a.z", "a.z.u", "a.z.v")
    assert structs.with_fields(["q", "a"], schema) == ("q", *all_names)
    assert structs.with_fields(["a.z"], schema) == ("a.z", "a.z.u", "a.z.v")
    assert structs.with_fields(["a.x", "other"], schema) == ("a.x", "other")
    plain = pa.schema([("a", pa.bool_()), ("a.x", pa.int64())])
    assert structs.with_fields(["a"], plain) == ("a",)


def test_files_are_asked_for_fields_rather_than_structs() -> None:
    fields = structs.flat_schema(table_of([]).schema)
    assert structs.stored_paths(["a", "a.x", "a.z"], fields) == ["a.x", "a.z"]
    assert structs.stored_paths(["k", "a"], fields) == ["k", "a"]


def test_cells_that_are_not_stored_are_null_structs() -> None:
    schema = structs.flat_schema(table_of([]).schema)
    assert structs.absent(schema.field("a"), 2).to_pylist() == [False, False]
    assert structs.absent(schema.field("a.x"), 1) == pa.nulls(1, pa.int64())
    known = structs.flatten(
        pa.table({"a": [{"x": 1}]}), structs.flat_schema(table_of([]).schema)
    )
    assert known.column_names == ["a", "a.x", "a.y", "a.z", "a.z.u", "a.z.v"]
    assert known["a.z"].to_pylist() == [False]


def test_values_in_null_structs_are_contradictions() -> None:
    flat = structs.flatten(table_of([None, {"x": 1, "y": "a", "z": None}]))
    assert not structs.contradictory(flat, flat.schema).any()
    place = flat.column_names.index("a.x")
    changed = flat.set_column(place, flat.schema.field(place), pa.array([5, 5]))
    assert structs.contradictory(changed, flat.schema).tolist() == [True, False]
    cells = structs.columns_of(changed)
    null = structs.null_structs("a.z.u", flat.schema, cells)
    assert null is not None and null.tolist() == [True, True]
    assert structs.null_structs("k", flat.schema, cells) is None
    arrays = {name: column.combine_chunks() for name, column in cells.items()}
    free = structs.emptied(arrays, flat.schema, None)
    assert free["a.x"].to_pylist() == [None, 5]
    given = pa.table({"a.x": [5]})
    assert structs.emptied(arrays, flat.schema, given)["a.x"].to_pylist() == [5, 5]


def test_types_of_structs_are_those_of_the_training_table() -> None:
    schema = structs.flat_schema(table_of([]).schema)
    assert structs.types(schema) == {"a": TYPE}
    assert structs.types(pa.schema([("a", pa.bool_())])) == {}


def test_places_stay_beside_formats_of_text() -> None:
    schema = structs.flat_schema(pa.schema([("a", pa.struct([("d", pa.string())]))]))
    field = text_formats.with_format(schema.field("a.d"), "%Y-%m-%d", pa.date32())
    dates = pa.table(
        [pa.array([True]), pa.array([19_000], pa.int32()).cast(pa.date32())],
        schema=pa.schema([schema.field("a"), field]),
    )
    written = structs.nest(text_formats.as_written(dates))
    assert written.to_pylist() == [{"a": {"d": "2022-01-08"}}]
    assert structs.bare(field).metadata == schema.field("a.d").metadata
