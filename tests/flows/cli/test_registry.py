"""Tests of the commands that move aliases."""

import json
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.cli.execution import ExitCode
from tests.support.project import Project, run_command


@pytest.fixture
def storage(project: Project) -> list[str]:
    return ["--storage", str(project.storage), "--json"]


def test_a_version_is_promoted_by_hand_and_rolled_back(
    project: Project, challenger: dict[str, Any], storage: list[str]
) -> None:
    second = challenger["register"]["version"]
    moved = run_command("promote", "small", second, "--reason", "tested", *storage)
    assert moved.exit_code == ExitCode.DONE
    assert json.loads(moved.stdout)["champion"] == second
    back = run_command("rollback", "small", "--reason", "too many alarms", *storage)
    content = json.loads(back.stdout)
    assert (content["champion"], content["rolled_back"]) == ("1", second)
    tags = MlflowClient().get_model_version("small", second).tags
    assert tags["rolled_back_reason"] == "too many alarms"


def test_a_promotion_asks_for_its_reason(storage: list[str]) -> None:
    refused = run_command("promote", "small", "2", *storage)
    assert refused.exit_code == ExitCode.USAGE
    assert "--reason" in refused.stderr


def test_a_missing_version_is_one_message(
    retrained: dict[str, Any], storage: list[str]
) -> None:
    missing = run_command("promote", "small", "99", "--reason", "why", *storage)
    assert missing.exit_code == ExitCode.FAILED
    assert "versions" in missing.stderr
    assert "1" in missing.stderr
