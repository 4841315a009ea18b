import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.data.datasets import open_dataset
from tests.support.parquet import read_rows, write_parquet

deltalake = pytest.importorskip("deltalake")  # of the extra `delta`


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Write a partitioned Delta table of 6 rows whose folder holds 16."""
    path = tmp_path / "table"
    days = [date(2024, 1, 1 + k % 2) for k in range(10)]
    first = pa.table({"a": range(10), "day": days})
    deltalake.write_deltalake(str(path), first, partition_by=["day"])
    second = first.slice(0, 6)
    deltalake.write_deltalake(str(path), second, mode="overwrite")
    return path


def test_a_delta_table_is_its_current_version(delta: Path) -> None:
    dataset = open_dataset(str(delta), rows_per_fragment=99)
    assert dataset.rows == 6
    assert dataset.version == 1
    assert dataset.schema.field("day").type == pa.date32()
    assert sorted(read_rows(dataset).column("a").to_pylist()) == list(range(6))
    for part in ("day=2024-01-01", "*=*-01/*.parquet"):
        assert open_dataset(str(delta / part), rows_per_fragment=99).rows == 3


def test_a_version_has_its_own_fingerprint(delta: Path) -> None:
    before = open_dataset(str(delta), rows_per_fragment=99).fingerprint
    deltalake.DeltaTable(str(delta)).alter.add_columns(
        deltalake.Field("b", deltalake.schema.PrimitiveType("integer"))
    )
    assert open_dataset(str(delta), rows_per_fragment=99).fingerprint != before


def test_without_deltalake_the_remedy_is_named(
    delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(ValueError, match=r"table: is a Delta table.*chainrule\[delta"):
        open_dataset(str(delta), rows_per_fragment=99)


def test_several_tables_and_other_files_are_refused(delta: Path) -> None:
    write_parquet(delta.parent / "other.parquet")
    with pytest.raises(ValueError, match="and other files, such as .*other.parquet"):
        open_dataset(str(delta.parent), rows_per_fragment=99)
    (delta.parent / "second" / ".hoodie").mkdir(parents=True)
    write_parquet(delta.parent / "second" / ".hoodie" / "x")
    with pytest.raises(ValueError, match="holds 2 tables with logs"):
        open_dataset(str(delta.parent), rows_per_fragment=99)


@pytest.mark.parametrize(
    ("log", "kind"),
    [("metadata/v1.metadata.json", "an Iceberg"), (".hoodie/x", "a Hudi")],
)
@pytest.mark.parametrize("place", ["", "data/day=1", "data/day=1/a.parquet"])
def test_tables_of_other_kinds_are_refused(
    tmp_path: Path, log: str, kind: str, place: str
) -> None:
    write_parquet(tmp_path / "data" / "day=1" / "a.parquet")
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("")
    with pytest.raises(ValueError, match=f"{tmp_path.name}: is {kind} table"):
        open_dataset(str(tmp_path / place), rows_per_fragment=99)


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("{}")
    with pytest.raises(ValueError, match="its Delta log cannot be read"):
        open_dataset(str(tmp_path), rows_per_fragment=99)


def test_a_folder_named_metadata_is_no_log(tmp_path: Path) -> None:
    write_parquet(tmp_path / "metadata" / "a.parquet")
    assert open_dataset(str(tmp_path), rows_per_fragment=99).rows == 10
