"""Tests of errors, overrides and exit codes of commands."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from flows.cli import errors, execution
from flows.cli.execution import ExitCode
from flows.cli.options import RunOptions
from tests.support.project import Project


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("name: a\ndata: {path: nowhere}\n")
    changes = ["train.epochs=7", "data.path=elsewhere", "data.id=[a, b]"]
    overrides = {"data.path": "here", "score.input": None}
    run = RunOptions(storage="s3://results", changes=changes)
    config = execution.read_config(file, run, overrides)
    assert config.train.epochs == 7
    assert config.data.path == "here"
    assert config.data.id == ("a", "b")
    assert config.score.input is None
    assert config.resources.storage == "s3://results"


def test_an_error_of_the_system_names_the_file_and_a_remedy() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/part-0")
    assert errors.describe(full) == (
        "/x/part-0: no space left on device; free some space, or choose another "
        "--storage or --output"
    )
    assert errors.describe(ValueError("a: bad")) == "a: bad"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "that you may write to"),
        (errno.EROFS, "that you may write to"),
    ],
)
def test_a_disk_that_refuses_is_one_message_and_harms_nothing(
    project: Project,
    retrained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number), "part-0")

    before = project.files()
    monkeypatch.setattr(os, "fsync", refuse)
    changes = {"prepare": "data.min_category_count=3", "score": "score.threshold=99"}
    for command, change in changes.items():
        result = project.run(command, "--set", change)
        assert result.exit_code == ExitCode.FAILED, result.output
        assert message in result.stderr.lower()
        assert "Traceback" not in result.output
    monkeypatch.undo()
    after = project.files()
    assert before.items() <= after.items()
    assert not [name for name in after if ".tmp-" in name]


def test_a_storage_below_a_file_is_one_message(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = project.run("retrain", "--storage", str(tmp_path / "file" / "storage"))
    assert result.exit_code == ExitCode.FAILED
    assert str(tmp_path / "file") in result.stderr
    assert "Traceback" not in result.output
