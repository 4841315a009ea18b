"""Tests of tracing a result back to its model, data and commit."""

import json
from typing import Any

from flows.cli.execution import ExitCode
from tests.support.project import Project, run_command


def test_a_scored_file_tells_where_it_comes_from(
    project: Project, retrained: dict[str, Any]
) -> None:
    scored = project.json("score")["score"]["path"]
    storage = ["--storage", str(project.storage)]
    for path in (scored, f"{scored}/part-00001.parquet"):
        found = json.loads(run_command("status", path, *storage, "--json").stdout)
        assert found["model"]["version"] == "1"
        assert found["version"]["aliases"] == ["champion"]
        assert found["training"]["data"] == str(project.data)
        fingerprint = found["version"]["tags"]["dataset_fingerprint"]
        assert fingerprint == retrained["prepare"]["fingerprint"]
    assert (
        "model        small version 1" in run_command("status", scored, *storage).stdout
    )


def test_what_is_no_result_is_one_message(project: Project) -> None:
    storage = ["--storage", str(project.storage)]
    for path, message in (
        ("no/such", "no such file"),
        (str(project.file), "is not a result"),
    ):
        ended = run_command("status", path, *storage)
        assert ended.exit_code == ExitCode.FAILED
        assert message in ended.stderr
