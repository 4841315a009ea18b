"""Tests of the flows behind the commands."""

import inspect

from flows import dry_run
from flows.cli import main
from flows.commands import FLOWS


def test_every_flow_takes_a_configuration_first() -> None:
    for name, flow in FLOWS.items():
        assert next(iter(inspect.signature(flow).parameters)) == "config", name


def test_every_flow_belongs_to_a_command_and_has_a_dry_run() -> None:
    commands = {command.callback.__name__ for command in main.app.registered_commands}
    groups = [group.typer_instance for group in main.app.registered_groups]
    for group in groups:
        commands |= {c.callback.__name__ for c in group.registered_commands}
    assert FLOWS.keys() <= commands
    assert dry_run.REHEARSALS.keys() == FLOWS.keys()
