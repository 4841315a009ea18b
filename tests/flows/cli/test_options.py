"""Tests of option groups."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from flows.cli.options import Overrides, VersionOptions, command


@dataclass(frozen=True)
class Group:
    """A group with one option."""

    width: Annotated[int | None, typer.Option(help="Width in cells.")] = None


def test_groups_and_keys_become_options_of_the_command() -> None:
    app = typer.Typer(rich_markup_mode="markdown")
    calls = []

    @command(app, "impute.details", "data.path", panel="P", example="draw a --width 3")
    def draw(name: str, group: Group, overrides: Overrides) -> None:
        """Draw something."""
        calls.append((name, group, overrides))

    given = ["a", "--width", "3", "--details", "--data", "p"]
    assert CliRunner().invoke(app, given).exit_code == 0
    assert CliRunner().invoke(app, ["b"]).exit_code == 0
    assert calls == [
        ("a", Group(3), {"impute.details": True, "data.path": "p"}),
        ("b", Group(), {"impute.details": None, "data.path": None}),
    ]
    assert "Example: draw a --width 3" in CliRunner().invoke(app, ["--help"]).output


def test_a_version_is_chosen_by_number_or_alias() -> None:
    assert VersionOptions().parameters() == {}
    assert VersionOptions(model_version=2).parameters() == {"version": "2"}
    assert VersionOptions(alias="best").parameters() == {"version": "best"}
    with pytest.raises(typer.BadParameter, match="exclude each other"):
        VersionOptions(model_version=2, alias="best").parameters()
