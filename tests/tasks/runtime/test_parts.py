"""Parts of a bulk job: the same bytes, found again only if whole."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.runtime import parts, storage

TABLE = pa.table({"x": [1.5, None, 2.5], "who": ["a", "b", None]})
UNITS = [SimpleNamespace(index=i, rows=3, content="c1") for i in range(9)]


def bound(index: int) -> parts.PartMetadata:
    """Return the metadata that binds a part to the job k1."""
    return parts.bound(UNITS[index], "k1")


def test_equal_tables_and_facts_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        facts = {"job_key": "k1", "rows_out": 3}
        entry = parts.write(str(tmp_path), name, TABLE, facts)
        assert entry["rows"] == 3
        assert entry["bytes"] == (tmp_path / name).stat().st_size
    assert (tmp_path / "a.parquet").read_bytes() == (
        tmp_path / "b.parquet"
    ).read_bytes()
    assert pq.read_table(tmp_path / "a.parquet").equals(TABLE)


def test_a_whole_part_is_found_with_its_facts(folder: str) -> None:
    facts = {**bound(4), "rows_out": 3, "companions": {"quarantine/q.parquet": 3}}
    companion = parts.write(folder, "quarantine/q.parquet", TABLE, bound(4))
    entry = parts.write(folder, parts.file_name(4), TABLE, facts)
    found = parts.finished(folder, "k1", UNITS)
    assert found == {4: {**facts, "files": [entry, companion]}}


def test_a_part_of_another_job_is_not_found(folder: str) -> None:
    parts.write(folder, parts.file_name(0), TABLE, {**bound(0), "job_key": "k2"})
    assert parts.finished(folder, "k1", UNITS) == {}


def test_a_part_that_lost_its_quarantine_is_not_found(folder: str) -> None:
    facts = {**bound(0), "companions": {"quarantine/q.parquet": 3}}
    parts.write(folder, parts.file_name(0), TABLE, facts)
    assert parts.finished(folder, "k1", UNITS) == {}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and so on PAR1"])
def test_a_damaged_part_is_not_found(tmp_path: Path, content: bytes) -> None:
    (tmp_path / parts.file_name(0)).write_bytes(content)
    assert parts.finished(str(tmp_path), "k1", UNITS) == {}


def test_a_truncated_part_is_not_found(folder: str) -> None:
    path = storage.join(folder, parts.file_name(0))
    parts.write(folder, parts.file_name(0), TABLE, bound(0))
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as file:
        whole = file.read()
    with storage.publish(path) as unfinished:
        unfinished.write_bytes(whole[:-20])
    assert parts.finished(folder, "k1", UNITS) == {}


def test_a_foreign_parquet_file_is_not_found(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / parts.file_name(0))
    assert parts.finished(str(tmp_path), "k1", UNITS) == {}
