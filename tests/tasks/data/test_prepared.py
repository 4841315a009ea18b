import base64

import pyarrow as pa

from tasks.data.prepared import describe_schema, list_files


def test_files_are_listed_in_order_without_empty_ones() -> None:
    sizes = {"test/b": 2, "test/a": 1, "test/c": 0, "train/a": 9}
    about = {"files": [{"path": p, "rows": n} for p, n in sizes.items()]}
    assert list_files(about, "test/") == [("test/a", 1), ("test/b", 2)]
    assert list_files(about, "encoded/") == []


def test_a_schema_can_be_read_by_people_and_by_arrow() -> None:
    schema = pa.schema([pa.field("a", pa.int8(), False), ("b", pa.list_(pa.string()))])
    described = describe_schema(schema)
    assert described["columns"][0] == {"name": "a", "type": "int8", "nullable": False}
    buffer = pa.py_buffer(base64.b64decode(described["arrow"]))
    assert pa.ipc.read_schema(buffer).equals(schema)
