"""Tests of the commands for unattended operation."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import main
from flows.cli.execution import ExitCode
from tests.support.project import Project


def test_deploy_lists_its_changes_before_it_makes_them(project: Project) -> None:
    schedule = "schedules.retrain={cron: 0 3 * * *}"
    shown = project.run("deploy", "--set", schedule, "--dry-run")
    assert shown.exit_code == ExitCode.DONE, shown.output
    assert "scheduled-retrain/small" in shown.stdout
    assert "dry run: nothing was changed" in shown.stdout
    assert project.json("undeploy", "--dry-run")["changes"] == []


def test_a_replay_of_no_dataset_is_one_message(project: Project) -> None:
    ended = project.run("replay", "--data", "nowhere", "--window", "2")
    assert ended.exit_code == ExitCode.FAILED
    assert "nowhere: no such file" in ended.stderr


def test_the_doctor_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    storage = f"--storage={tmp_path}"
    well = CliRunner().invoke(main.app, ["doctor", storage])
    assert (well.exit_code, "work can begin" in well.output) == (0, True)
    file = tmp_path / "c.yaml"
    file.write_text("name: a\ndata: {path: nowhere/x}\n")
    ill = CliRunner().invoke(main.app, ["doctor", str(file), storage, "--json"])
    content = json.loads(ill.stdout)
    assert (ill.exit_code, content["status"]) == (1, "failed")
    failed = [each["name"] for each in content["checks"] if not each["passed"]]
    assert failed == ["dataset"]
