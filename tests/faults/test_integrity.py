"""Results that decay are noticed, and are written again or named in one error."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.cli import verified
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.data import prepare
from tasks.data.datasets import open_dataset
from tasks.data.prepare import PrepareResult
from tasks.inference import sample, score
from tasks.runtime import manifest, model_store
from tasks.runtime.verification import verify
from tests.support.faults import (
    Fault,
    cut,
    delete,
    flip,
    once,
    parts_of,
    rows_of,
    score_rows,
    stop,
    zero,
)
from tests.support.preparing import content

DAMAGES = [flip, zero, cut, delete]


def run_sample(model: str, output: Path) -> sample.SampleResult:
    config = SampleConfig(rows=300, rows_per_shard=100)
    return sample.sample(model, str(output), config, Resources())


def run_prepare(source: Path, output: Path) -> PrepareResult:
    data = DataConfig(path=str(source), id=("id",))
    return prepare.prepare(data, str(output), Resources())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_of_a_finished_job_is_written_again(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
    damage: Fault,
) -> None:
    output = tmp_path / "output"
    score_rows(small_model, source, output)
    kept = (output / "part-00002.parquet").stat().st_ino
    delete(output / "part-00000.parquet")
    damage(output / "part-00001.parquet")
    assert not score_rows(small_model, source, output).done
    assert parts_of(output) == undisturbed
    assert (output / "part-00002.parquet").stat().st_ino == kept
    assert f"{output}/part-00001.parquet: is damaged or missing" in caplog.text
    assert score_rows(small_model, source, output).done


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0])
def test_a_damaged_part_of_an_unfinished_job_is_written_again(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    place: float,
) -> None:
    output = tmp_path / "output"
    with monkeypatch.context() as patch:
        patch.setattr(score.selection, "select_anomalies", once(stop, stop, 0))
        with pytest.raises(KeyboardInterrupt):
            score_rows(small_model, source, output)
    flip(output / "_first_pass" / "part-00001.parquet", place)
    score_rows(small_model, source, output)
    assert parts_of(output) == undisturbed


def test_a_part_in_the_place_of_another_is_written_again(
    small_model: str, source: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    output = tmp_path / "output"
    score_rows(small_model, source, output)
    shutil.copy(output / "part-00001.parquet", output / "part-00000.parquet")
    score_rows(small_model, source, output)
    assert parts_of(output) == undisturbed


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_of_samples_is_drawn_again(
    small_model: str, tmp_path: Path, damage: Fault
) -> None:
    output = tmp_path / "output"
    run_sample(small_model, output)
    expected = parts_of(output)
    damage(output / "part-00001.parquet")
    assert not run_sample(small_model, output).done
    assert parts_of(output) == expected


@pytest.mark.parametrize("finished", [True, False])
def test_files_that_no_manifest_lists_are_set_aside(
    small_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, finished: bool
) -> None:
    output = tmp_path / "output"
    run_sample(small_model, output)
    (output / "notes.txt").write_text("keep")
    shutil.copy(output / "part-00001.parquet", output / "part-00099.parquet")
    if not finished:
        (output / "part-00002.parquet").unlink()
    assert run_sample(small_model, output).done == finished
    assert sorted(parts_of(output)) == [f"part-0000{k}.parquet" for k in range(3)]
    (output / "notes.txt").unlink()
    assert open_dataset(str(output), rows_per_fragment=999).rows == 300
    assert f"{output}/part-00099.parquet: is not one of the files" in caplog.text
    assert (output / "_unlisted" / "part-00099.parquet").exists()


def test_results_of_other_jobs_below_a_folder_are_left_alone(
    small_model: str, tmp_path: Path
) -> None:
    run_sample(small_model, tmp_path / "output")
    run_sample(small_model, tmp_path / "output" / "inner")
    assert run_sample(small_model, tmp_path / "output").done
    assert len(parts_of(tmp_path / "output" / "inner")) == 3


@pytest.mark.parametrize("damage", [flip, zero, cut, delete])
@pytest.mark.parametrize(
    "name",
    [
        "encoder.json",
        "profile.json",
        "schema.json",
        "train/part-00000.parquet",
        "encoded/train/part-00000.arrow",
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_file_of_a_prepared_dataset_is_written_again(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Fault,
    name: str,
    finished: bool,
) -> None:
    output = tmp_path / "prepared"
    if finished:
        run_prepare(source, output)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(manifest, "finish", once(stop, manifest.finish, 0))
            with pytest.raises(KeyboardInterrupt):
                run_prepare(source, output)
    damage(output / name)
    assert not run_prepare(source, output).done
    run_prepare(source, tmp_path / "whole")
    assert content(output) == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", [flip, zero, cut, delete])
def test_damaged_results_are_named_by_those_that_read_them(
    source: Path, tmp_path: Path, damage: Fault
) -> None:
    output = tmp_path / "prepared"
    run_prepare(source, output)
    damage(output / "encoded" / "train" / "part-00000.arrow")
    with pytest.raises(ValueError, match="train/part-00000.arrow: is damaged or miss"):
        manifest.read_finished(str(output))


def test_large_files_are_hashed_only_if_they_were_touched(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "prepared"
    run_prepare(source, output)
    hashed: list[str] = []
    checksum = manifest.storage.checksum
    monkeypatch.setattr(manifest, "SMALL_BYTES", 0)
    monkeypatch.setattr(
        manifest.storage, "checksum", lambda p: hashed.append(p) or checksum(p)
    )
    known = manifest.storage.read_json(str(output / manifest.MANIFEST))
    assert manifest.damaged_files(str(output), known) == hashed == []
    flip(output / "train" / "part-00000.parquet")
    assert manifest.damaged_files(str(output), known) == ["train/part-00000.parquet"]


@pytest.mark.parametrize("damage", [flip, zero, cut, delete])
@pytest.mark.parametrize(
    "name",
    [
        "calibration.parquet",
        "model.json",
        "nearness.safetensors",
        "weights.safetensors",
    ],
)
def test_a_damaged_model_is_not_loaded(
    small_model: str, tmp_path: Path, damage: Fault, name: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(small_model, model)
    damage(model / name)
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        model_store.load(str(model))


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5])
def test_a_flipped_page_of_the_input_is_named(
    small_model: str, source: Path, tmp_path: Path, place: float
) -> None:
    pq.write_table(
        rows_of(seed=7), source, row_group_size=100, write_page_checksum=True
    )
    flip(source, place)
    with pytest.raises(ValueError, match="rows.parquet: is damaged.*CRC"):
        score_rows(small_model, source, tmp_path / "output")


def test_our_files_have_checksums_of_their_pages(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "prepared"
    run_prepare(source, output)
    path = output / "test" / "part-00000.parquet"
    flip(path, 0.2)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_verify_names_every_faulty_file_and_says_how_fast_it_was(
    small_model: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "results"
    score_rows(small_model, source, root / "scored")
    run_prepare(source, root / "prepared")
    shutil.copytree(small_model, root / "model")
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "finish", once(stop, manifest.finish, 0))
        for job in (
            lambda: score_rows(small_model, source, root / "half-scored"),
            lambda: run_prepare(source, root / "half-prepared"),
        ):
            with pytest.raises(KeyboardInterrupt):
                job()
    text = verified.describe(verify(str(root)))
    assert re.search(r"\d+ files, [\d.]+ MB in [\d.]+ s, [\d,]+ MB/s", text)
    assert "every file is as it was written" in text
    damaged = [
        "scored/part-00001.parquet",
        "prepared/encoded/train/part-00000.arrow",
        "prepared/encoder.json",
        "model/model.json",
        "half-scored/part-00000.parquet",
        "half-prepared/profile.json",
        "half-prepared/_parts/part-00000.json",
    ]
    for name in damaged:
        flip(root / name)
    shutil.copy(root / "scored/part-00000.parquet", root / "scored/part-00007.parquet")
    arguments = ["verify", str(root), "--json", "--storage", str(tmp_path / "state")]
    command = [sys.executable, "-m", "flows.cli", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1, found.stderr
    faults = json.loads(found.stdout)["faults"]
    names = {str(Path(fault["path"]).relative_to(root)) for fault in faults}
    assert names == {*damaged, "scored/part-00007.parquet"}
