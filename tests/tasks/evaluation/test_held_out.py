from pathlib import Path

import pyarrow as pa
import pytest

from tasks.evaluation import held_out
from tests.support.parquet import write_parquet


def test_without_test_rows_there_is_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="data.split.test"):
        held_out.list_test_files("prepared", {"files": [{"path": "test/a", "rows": 0}]})


def test_files_are_read_in_order_and_by_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, first in (("b", 3), ("a", 0)):
        table = pa.table({"x": [first, first + 1, first + 2], "y": ["z"] * 3})
        write_parquet(tmp_path / f"{name}.parquet", table)
    whole = held_out.read_folder(str(tmp_path))
    assert whole["x"].to_pylist() == list(range(6))
    path = str(tmp_path / "a.parquet")
    assert held_out.read_schema(path).names == ["x", "y"]
    assert held_out.read(path, ["y"]).column_names == ["y"]
    monkeypatch.setattr(held_out, "READ_ROWS", 2)
    sizes = [table.num_rows for table in held_out.read_batches(path, ["x"])]
    assert sizes == [2, 1]
