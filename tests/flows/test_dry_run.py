"""Dry runs of commands: what they would do, of a project and of an empty storage."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project


def tree(folder: Path) -> dict[str, int]:
    """Return the times of change of everything below a folder, by path."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        # SQLite makes and removes its journals where it reads.
        if not path.name.startswith(("mlflow.db", "prefect.db"))
        and path.name != folder.name
    }


def jobs(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the kind and state of each job of a dry run."""
    return [(job["kind"], job["state"]) for job in content["jobs"]]


def test_finished_steps_are_found(project: Project, retrained: dict[str, Any]) -> None:
    before = tree(project.storage)
    content = project.json("retrain", "--dry-run")
    assert jobs(content) == [
        ("prepare", "finished"),
        ("train", "finished"),
        ("evaluate", "finished"),
    ]
    assert content["jobs"][1]["path"] == retrained["train"]["path"]
    assert tree(project.storage) == before


def test_the_steps_after_a_new_one_are_named(
    project: Project, retrained: dict[str, Any]
) -> None:
    before = tree(project.storage)
    content = project.json("evaluate", "--dry-run", "--set", "train.epochs=2")
    assert jobs(content) == [("prepare", "finished"), ("train", "new")]
    assert content["later"] == ["evaluate", "report"]
    assert tree(project.storage) == before


def test_a_calibration_is_rehearsed(
    project: Project, retrained: dict[str, Any]
) -> None:
    before = tree(project.storage)
    kinds = [job["kind"] for job in project.json("calibrate", "--dry-run")["jobs"]]
    assert kinds[0] == "prepare" and set(kinds) <= {"prepare", "recalibrate"}
    assert tree(project.storage) == before


@pytest.mark.parametrize("command", ["score", "sample", "impute", "embed", "monitor"])
def test_jobs_with_a_model_say_what_they_read_and_write(
    project: Project, retrained: dict[str, Any], tmp_path: Path, command: str
) -> None:
    before = tree(project.storage)
    output = tmp_path / "output"
    content = project.json(command, "--dry-run", "--output", str(output))
    (job,) = content["jobs"]
    assert (job["kind"], job["state"], job["path"]) == (command, "new", str(output))
    assert job["parts"] > 0 and job["finished_parts"] == 0
    assert job["files"] == (0 if command == "sample" else 1)
    assert not output.exists()
    assert tree(project.storage) == before


def test_parts_that_are_there_are_counted(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    options = ("--output", str(output))
    project.json("sample", *options)
    (output / "part-00001.parquet").unlink()
    ended = project.run("sample", *options, "--dry-run")
    assert (
        "unfinished, goes on; 2 of 3 parts are there, 1 to be written" in ended.stdout
    )
    assert project.json("sample", *options, "--dry-run")["jobs"][0]["rows"] == 500


def test_a_dry_run_in_an_empty_storage_leaves_it_empty(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.storage.mkdir()
    configured = ("MLFLOW_TRACKING_URI", "PREFECT_HOME")
    own = {k: v for k, v in os.environ.items() if k not in configured}
    said = []
    for command in ("retrain", "score"):
        program = [sys.executable, "-m", "flows.cli", command, str(project.file)]
        ended = subprocess.run(
            [*program, "--dry-run"], env=own, capture_output=True, text=True
        )
        said.append((ended.returncode, ended.stdout + ended.stderr))
    assert said[0][0] == 0, said[0][1]
    assert "prepare    new; reads 1 file; 0 of 1 parts are there" in said[0][1]
    assert "then       train, evaluate, register, gate, report" in said[0][1]
    assert "Warning" not in said[0][1]
    assert said[1][0] == 1
    assert "run retrain first" in said[1][1]
    assert not list(project.storage.iterdir())
