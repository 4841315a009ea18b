"""Tests of running the flow of a command as the only writer of its output."""

import hashlib
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed, Running

from flows import steps
from flows.cli.execution import ExitCode
from flows.commands import FLOWS
from flows.process import runs
from flows.process.output_lock import hold_output
from tasks.config.root import Config
from tests.support.project import Project


def test_one_command_at_a_time_retrains_a_model(
    project: Project, retrained: dict[str, Any]
) -> None:
    name = hashlib.sha256(f"{project.storage}/small".encode()).hexdigest()[:16]
    with hold_output(project.storage / "locks" / f"{name}.lock"):
        result = project.run("retrain")
    assert result.exit_code == ExitCode.FAILED
    assert "another chainrule command" in result.stderr


@pytest.mark.parametrize(
    ("command", "section", "name"),
    [
        ("retrain", {}, "/s/a"),
        ("prepare", {}, "/s/a"),
        ("score", {}, "/s/a score "),
        ("score", {"score": {"input": "/new"}}, "/s/a score /new"),
        ("score", {"score": {"output": "/out/"}}, "/out"),
        ("backfill", {}, "/s/a/partitions"),
        ("sample", {"sample": {"given": "/known"}}, "/s/a sample /known"),
    ],
)
def test_an_output_has_one_name_for_every_spelling(
    command: str, section: dict[str, Any], name: str
) -> None:
    config = Config.model_validate(
        {"name": "a", "data": {"path": "p"}, "resources": {"storage": "/s"}, **section}
    )
    assert runs.output_name(command, config) == name


def test_a_flow_run_without_process_is_marked_as_crashed(server: None) -> None:
    with get_client(sync_client=True) as client:
        dead, ended = (
            client.create_flow_run(steps.as_flow(FLOWS["sample"]), state=state)
            for state in (Running(), Completed())
        )
        for run in (dead, ended):
            runs.mark_crashed(client, str(run.id))
        states = [client.read_flow_run(run.id).state for run in (dead, ended)]
    assert [state is not None and state.is_crashed() for state in states] == [
        True,
        False,
    ]
