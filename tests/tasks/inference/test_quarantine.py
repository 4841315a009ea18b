"""Quarantine tables: the rows' ids, where they come from, and the reason."""

import numpy as np
import pyarrow as pa

from tasks.data.fragments import Fragment
from tasks.data.source_file import SourceFile
from tasks.inference.quarantine import (
    QUARANTINE_COLUMNS,
    quarantine_table,
    unreadable_rows,
)

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("x", pa.float64())])
FRAGMENT = Fragment(
    index=3,
    path="/data/b.parquet",
    name="b.parquet",
    row_groups=(1,),
    start=0,
    rows=4,
    first=100,
    partition=(),
    file=SourceFile("/data/b.parquet", (), "c1"),
    schema=SCHEMA,
)


def test_rows_are_named_by_their_position_in_the_file() -> None:
    carried = pa.table({"id": [7, 9]})
    found = quarantine_table(FRAGMENT, carried, np.array([0, 3]), ["nan", "inf"])
    assert found.to_pylist() == [
        {"id": 7, "source": "b.parquet", "row": 100, "reason": "nan"},
        {"id": 9, "source": "b.parquet", "row": 103, "reason": "inf"},
    ]


def test_rows_without_carried_columns_are_counted_too() -> None:
    carried = pa.table({"id": [7, 9]}).select([])
    found = quarantine_table(FRAGMENT, carried, np.array([0, 3]), ["nan", "inf"])
    assert tuple(found.column_names) == QUARANTINE_COLUMNS
    assert found["row"].to_pylist() == [100, 103]


def test_an_unreadable_fragment_loses_its_ids_but_not_its_rows() -> None:
    found = unreadable_rows(FRAGMENT, ["id"], "is damaged")
    assert found["id"].to_pylist() == [None] * 4
    assert found["row"].to_pylist() == [100, 101, 102, 103]
    assert set(found["reason"].to_pylist()) == {"is damaged"}
