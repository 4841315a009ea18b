"""State that cannot be read is discarded with a warning, and the job goes on."""

import json
from pathlib import Path

import pytest

from flows.process.output_lock import hold_output
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tasks.runtime import manifest, storage
from tasks.training import driver
from tests.support.faults import (
    Fault,
    cut,
    delete,
    empty,
    flip,
    make_binary,
    once,
    parts_of,
    score_rows,
    stop,
    zero,
)
from tests.support.preparing import content
from tests.support.training import make_trainer, write_run

UNREADABLE = [cut, make_binary, empty, zero]


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_claim_is_rebuilt_from_the_parts(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: Fault,
    overwrite: bool,
) -> None:
    output = tmp_path / "output"
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "finish", once(stop, manifest.finish, 0))
        with pytest.raises(KeyboardInterrupt):
            score_rows(small_model, source, output)
    kept = (output / "part-00001.parquet").stat().st_ino
    damage(output / manifest.CLAIM)
    score_rows(small_model, source, output)
    assert parts_of(output) == undisturbed
    assert (output / "part-00001.parquet").stat().st_ino == kept
    assert "_job.json: damaged" in caplog.text


@pytest.mark.parametrize("name", [manifest.CLAIM, manifest.MANIFEST])
def test_a_lost_claim_or_manifest_is_rebuilt_from_the_parts(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    output = tmp_path / "output"
    with monkeypatch.context() as patch:
        if name == manifest.CLAIM:
            patch.setattr(manifest, "finish", once(stop, manifest.finish, 0))
            with pytest.raises(KeyboardInterrupt):
                score_rows(small_model, source, output)
        else:
            score_rows(small_model, source, output)
    (output / name).unlink()
    with pytest.raises(FileExistsError, match="files that no job has written"):
        score_rows(small_model, source, output, budget=9)
    score_rows(small_model, source, output)
    assert parts_of(output) == undisturbed


@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_manifest_is_written_again(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    damage: Fault,
) -> None:
    output = tmp_path / "output"
    score_rows(small_model, source, output)
    before = storage.read_json(str(output / manifest.MANIFEST))
    damage(output / manifest.MANIFEST)
    assert not score_rows(small_model, source, output).done
    assert parts_of(output) == undisturbed
    after = storage.read_json(str(output / manifest.MANIFEST))
    assert before["files"] == after["files"]


def test_the_parts_of_another_job_are_kept_where_its_claim_is_damaged(
    small_model: str, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    score_rows(small_model, source, output)
    before = parts_of(output)
    cut(output / manifest.MANIFEST)
    with pytest.raises(FileExistsError, match="holds the output of another job"):
        score_rows(small_model, source, output, budget=9)
    assert parts_of(output) == before


@pytest.mark.parametrize("damage", [*UNREADABLE, flip, delete])
@pytest.mark.parametrize("name", ["part-00000.json", "first-pass.json"])
def test_a_receipt_that_cannot_be_read_costs_its_files_only(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Fault,
    name: str,
) -> None:
    data, output = DataConfig(path=str(source), id=("id",)), tmp_path / "prepared"
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "finish", once(stop, manifest.finish, 0))
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare(data, str(output), Resources())
    damage(output / "_parts" / name)
    prepare.prepare(data, str(output), Resources())
    prepare.prepare(data, str(tmp_path / "whole"), Resources())
    assert content(output) == content(tmp_path / "whole")


@pytest.mark.parametrize(
    "text",
    [
        b'{"pid": 1, "mark',
        b"\xff\xfe\x00",
        b"[]",
        b'{"marker": 7, "flow_runs": 3}',
        b"null",
        bytes(100),
    ],
)
def test_a_lock_file_that_cannot_be_read_is_no_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    path = tmp_path / "a.lock"
    path.write_bytes(text)
    with hold_output(path) as lock:
        assert lock.dead_flow_runs == []
        assert json.loads(path.read_text())["flow_runs"] == []
    assert f"{path}: its record of the last command is damaged" in caplog.text
    assert json.loads(path.read_text()) == {"finished": ""}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write the records of a run of Ray with two checkpoints."""
    folder = tmp_path / "run"
    write_run(folder)
    return folder


FILES = [
    "model.safetensors",
    "best.safetensors",
    "optimizer.safetensors",
    "state.json",
    "rank-0.json",
    "hashes-0.json",
]


@pytest.mark.parametrize("damage", [*UNREADABLE, flip, delete])
@pytest.mark.parametrize("name", FILES)
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    run: Path, caplog: pytest.LogCaptureFixture, damage: Fault, name: str
) -> None:
    damage(run / "second" / name)
    driver.discard_unreadable(str(run))
    snapshot = json.loads((run / driver.SNAPSHOT).read_text())
    (left,) = snapshot["checkpoint_results"]
    assert left == snapshot["latest_checkpoint_result"]
    assert left["checkpoint_dir_name"] == "first"
    assert snapshot["checkpoint_report_indices"] == [0]
    assert f"{run}/second: this checkpoint is damaged" in caplog.text
    assert not (run / "second").exists()
    trainer = make_trainer(seed=1)
    trainer.load(run / "first")
    assert trainer.state.step == 3


@pytest.mark.parametrize("damage", [cut, flip, delete])
def test_training_starts_over_without_a_whole_checkpoint(
    run: Path, caplog: pytest.LogCaptureFixture, damage: Fault
) -> None:
    damage(run / "first" / "model.safetensors")
    damage(run / "second" / "state.json")
    driver.discard_unreadable(str(run))
    assert not run.exists()
    assert f"{run}: no checkpoint is whole; training starts over" in caplog.text


def test_whole_checkpoints_are_left_alone(run: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    driver.discard_unreadable(str(run))
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_training_starts_over_without_the_record_of_its_checkpoints(
    run: Path, damage: Fault
) -> None:
    damage(run / driver.SNAPSHOT)
    driver.discard_unreadable(str(run))
    assert not run.exists()
