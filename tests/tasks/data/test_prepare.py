from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tasks.data.prepared import ENCODED, read_encoder
from tasks.data.splits import SPLITS
from tasks.runtime import manifest, storage
from tests.support.preparing import (
    content,
    example_table,
    read_encoded,
    read_split,
    run_prepare,
    write_files,
)


def test_every_row_stands_once_in_its_split(tmp_path: Path) -> None:
    table = example_table(400)
    source = write_files(tmp_path / "raw", table, 4)
    result = run_prepare(source, tmp_path / "out")
    assert result.done is False
    assert result.rows_quarantined == 0
    found = {s: read_split(tmp_path / "out", s) for s in SPLITS}
    assert {s: t.num_rows for s, t in found.items()} == result.rows
    everything = pa.concat_tables(list(found.values()))
    assert everything.schema.equals(table.schema)
    assert everything.sort_by("key").equals(table.sort_by("key"))
    encoder = read_encoder(str(tmp_path / "out"))
    assert encoder.fingerprint == result.encoder
    for split in ENCODED:
        expected = encoder.encode(found[split]).x
        np.testing.assert_array_equal(read_encoded(tmp_path / "out", split), expected)


def test_the_manifest_describes_every_file(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 2)
    result = run_prepare(source, tmp_path / "out", id=["key"])
    known = storage.read_json(str(tmp_path / "out" / manifest.MANIFEST))
    assert known["rows_in"] == 300 == known["rows_out"]
    for entry in known["files"]:
        path = str(tmp_path / "out" / entry["path"])
        assert storage.checksum(path) == entry["sha256"]
    listed = {entry["path"] for entry in known["files"]}
    names = ["first-pass", "part-00000", "part-00001"]
    receipts = {f"_parts/{name}.json" for name in names}
    assert set(content(tmp_path / "out")) == listed | receipts | {"manifest"}
    assert result.key == known["job_key"]


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 2)
    first = run_prepare(source, tmp_path / "{key}")
    assert first.path == str(tmp_path / first.key)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / first.key).rglob("*")}
    second = run_prepare(source, tmp_path / "{key}")
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / first.key).rglob("*")}
    assert second.done is True
    assert before == after
    assert second == replace(first, done=True)


@pytest.mark.parametrize("step", ["write_fragments", "_run_first_pass"])
def test_a_run_that_died_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 3)
    run_prepare(source, tmp_path / "undisturbed")
    whole = getattr(prepare, step)

    def dies(*arguments: Any) -> None:
        whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, step, dies)
        with pytest.raises(KeyboardInterrupt):
            run_prepare(source, tmp_path / "out")
    kept = tmp_path / "out" / "encoder.json"
    if step == "write_fragments":
        kept = tmp_path / "out" / "train" / "part-00000.parquet"
        (tmp_path / "out" / "_parts" / "part-00002.json").unlink()
        (tmp_path / "out" / "train" / "part-00002.parquet").write_text("half")
    stamp = kept.stat().st_mtime_ns
    assert run_prepare(source, tmp_path / "out").done is False
    assert kept.stat().st_mtime_ns == stamp
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["train/part-00001.parquet", "profile.json"])
def test_a_lost_file_is_made_again_and_no_other(tmp_path: Path, name: str) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 3)
    run_prepare(source, tmp_path / "out")
    before = content(tmp_path / "out")
    other = tmp_path / "out" / "train" / "part-00002.parquet"
    stamp = other.stat().st_mtime_ns
    (tmp_path / "out" / name).unlink()
    assert run_prepare(source, tmp_path / "out").done is False
    assert content(tmp_path / "out") == before
    assert other.stat().st_mtime_ns == stamp


def test_another_job_s_folder_is_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 1)
    run_prepare(source, tmp_path / "out")
    data = DataConfig(path=str(source), exclude=("city",))
    with pytest.raises(FileExistsError, match="holds the output of another job"):
        prepare.prepare(data, str(tmp_path / "out"), Resources())
    result = prepare.prepare(data, str(tmp_path / "out"), Resources(), overwrite=True)
    assert "city" not in result.columns
    assert "city" not in read_split(tmp_path / "out", "train").column_names


def test_the_encoder_depends_on_the_rows_and_not_on_their_files(tmp_path: Path) -> None:
    table = example_table(500)
    one = run_prepare(write_files(tmp_path / "one", table, 1), tmp_path / "a")
    order = np.random.default_rng(1).permutation(500)
    shuffled = table.take(pa.array(order))
    seven = run_prepare(write_files(tmp_path / "seven", shuffled, 7), tmp_path / "b")
    assert one.rows == seven.rows
    assert one.encoder == seven.encoder
    assert one.fingerprint != seven.fingerprint


def test_a_bucket_to_a_bucket(tmp_path: Path, bucket: str) -> None:
    import pyarrow.fs as pafs

    source = write_files(tmp_path / "month=1", example_table(300), 2)
    filesystem, inner = storage.resolve(f"{bucket}/raw/month=1")
    pafs.copy_files(str(source), inner, destination_filesystem=filesystem)
    result = run_prepare(f"{bucket}/raw", f"{bucket}/out")
    assert run_prepare(f"{bucket}/raw", f"{bucket}/out").done
    encoder = read_encoder(f"{bucket}/out")
    assert encoder.fingerprint == result.encoder
    assert result.columns["month"] == "left out"
    left = {c.name: (c.reason, c.value) for c in encoder.left_out}
    assert left["month"] == ("constant", "1")
    assert left["unit"] == ("constant", "EUR")


def test_ids_are_carried_and_not_modelled(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 1)
    result = run_prepare(source, tmp_path / "out", id=["age"], exclude=["day"])
    assert "age" not in result.columns and "day" not in result.columns
    names = read_split(tmp_path / "out", "train").column_names
    assert "age" in names and "day" not in names
