import json
import re
import uuid
from typing import Any

import pyarrow as pa
import pytest

from ar_models.tables import schema_text
from ar_models.tables.key_columns import KeyColumn, with_new_keys
from ar_models.tables.key_styles import KeyStyle
from ar_models.tables.text_pattern import learn_pattern

PATTERN = learn_pattern([f"AB-{i:05}" for i in range(0, 100_000, 101)])


def column(type: pa.DataType, name: str = "key", **known: Any) -> KeyColumn:
    """Return a column of 1000 training rows, unique if nothing else is known."""
    field = pa.field(name, type, nullable=False)
    defaults = {"rows": 1000, "distinct": 1000, "is_unique": True}
    text = schema_text.to_text(pa.schema([field]))
    return KeyColumn(text, **{"place": 0, **defaults, **known})


def test_a_column_is_the_same_after_a_round_trip() -> None:
    key = column(pa.string(), pattern=PATTERN, high=None)
    again = KeyColumn.from_dict(json.loads(json.dumps(key.to_dict())))
    assert again == key and again.name == "key"


@pytest.mark.parametrize(
    ("style", "form", "expression"),
    [
        ("pattern", "AB-[0-9]{5}", "AB-[0-9]{5}"),
        ("sequence", "numbers", "[1-9][0-9]*"),
        ("uuid", "UUIDs", "[0-9a-f]{8}-[0-9a-f]{4}-4.*"),
    ],
)
def test_new_texts_are_unique_and_have_the_form(
    style: KeyStyle, form: str, expression: str
) -> None:
    key = column(pa.dictionary(pa.int32(), pa.string()), pattern=PATTERN)
    parts = [key.new_values(style, first, 250, 500, seed=7) for first in (0, 250)]
    texts = [text for part in parts for text in part.to_pylist()]
    assert key.describe(style) == form
    assert parts[0].type == key.arrow_field.type
    assert len(set(texts)) == 500
    assert all(re.fullmatch(expression, text) for text in texts)


@pytest.mark.parametrize(
    ("type", "high"),
    [(pa.int64(), 1000), (pa.int16(), 32_000), (pa.float64(), 1000), (pa.int8(), 127)],
)
def test_new_integers_follow_the_greatest_where_the_type_has_room(
    type: pa.DataType, high: int
) -> None:
    key = column(type, high=high)
    values = key.new_values("pattern", 0, 100, 100, seed=1)
    assert values.type == type and len(set(values.to_pylist())) == 100
    assert min(values.to_pylist()) == (28 if type == pa.int8() else high + 1)


def test_values_that_repeat_do_so_in_samples_with_as_many_nulls() -> None:
    key = column(
        pa.string(), distinct=50, is_unique=False, missing=200, pattern=PATTERN
    )
    values = key.new_values("pattern", 0, 1000, 1000, seed=1)
    # 200 nulls are expected; 75 more or less have odds below 1e-8.
    assert abs(values.null_count - 200) < 75
    assert 40 <= len(values.drop_null().unique()) <= 50


def test_uuids_are_uuids_in_binary_too() -> None:
    for type in (pa.uuid(), pa.binary(16)):
        values = column(type).new_values("pattern", 0, 100, 100, seed=1)
        raw = values.to_pylist()
        known = [v if isinstance(v, uuid.UUID) else uuid.UUID(bytes=v) for v in raw]
        assert values.type == type and len(set(known)) == 100
        assert {value.version for value in known} == {4}


@pytest.mark.parametrize(
    "key",
    [
        column(pa.string()),  # irregular text
        column(pa.string(), distinct=5, is_unique=False, pattern=PATTERN),
        column(pa.bool_(), distinct=2, is_unique=False),
        column(pa.date32()),
        column(pa.struct([("a", pa.int64())])),
    ],
)
def test_other_columns_are_null_in_their_place(key: KeyColumn) -> None:
    rows = with_new_keys(pa.table({"x": [1, 2]}), [key], "pattern", 0, 2, 0)
    assert rows.column_names == ["key", "x"] and rows["key"].null_count == 2
    assert rows.schema.field("key").type == key.arrow_field.type
    assert rows.schema.field("key").nullable and key.describe("pattern") == "null"


def test_columns_that_rows_have_stay() -> None:
    rows = pa.table({"x": [1], "key": ["own"]})
    assert with_new_keys(rows, [column(pa.string())], "pattern", 0, 1, 0) is rows
