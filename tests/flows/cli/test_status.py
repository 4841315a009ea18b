"""Tests of the list of versions and results."""

import json
from typing import Any

from flows.cli.execution import ExitCode
from tests.support.project import Project, run_command


def test_status_lists_versions_and_results(
    project: Project, retrained: dict[str, Any]
) -> None:
    storage = ["--storage", str(project.storage)]
    content = json.loads(run_command("status", "small", *storage, "--json").stdout)
    first = next(v for v in content["versions"] if v["version"] == 1)
    assert first["aliases"] == ["champion"]
    assert first["test_nll"] == retrained["evaluate"]["metrics"]["test/nll"]
    kinds = {result["kind"] for result in content["results"]}
    assert {"prepared", "models", "evaluations"} <= kinds
    assert "champion" in run_command("status", *storage).stdout


def test_an_unknown_name_is_one_message_with_the_known_ones(
    project: Project, retrained: dict[str, Any]
) -> None:
    ended = run_command("status", "nobody", "--storage", str(project.storage))
    assert ended.exit_code == ExitCode.FAILED
    assert "has no model 'nobody'" in ended.stderr
    assert "available models: " in ended.stderr
    assert "small" in ended.stderr
