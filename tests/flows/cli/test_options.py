"""Tests of option groups."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from flows.cli.options import SectionOptions, VersionOptions, command


@dataclass(frozen=True)
class Group(SectionOptions):
    """A group with one option."""

    section = "part"
    width: Annotated[int | None, typer.Option(help="Width in cells.")] = None


def test_fields_of_a_group_are_options_of_the_command() -> None:
    app = typer.Typer(rich_markup_mode="markdown")
    calls = []

    @command(app, panel="Panel", example="draw a --width 3")
    def draw(name: str, group: Group, *, bold: bool = False) -> None:
        """Draw something."""
        calls.append((name, group, bold))

    assert CliRunner().invoke(app, ["a", "--width", "3", "--bold"]).exit_code == 0
    assert CliRunner().invoke(app, ["b"]).exit_code == 0
    assert calls == [("a", Group(3), True), ("b", Group(), False)]
    assert "Example: draw a --width 3" in CliRunner().invoke(app, ["--help"]).output


def test_a_group_names_the_keys_that_it_replaces() -> None:
    assert Group(3).overrides() == {"part.width": 3}


def test_a_version_is_chosen_by_number_or_alias() -> None:
    assert VersionOptions().parameters() == {}
    assert VersionOptions(model_version=2).parameters() == {"version": "2"}
    assert VersionOptions(alias="best").parameters() == {"version": "best"}
    with pytest.raises(typer.BadParameter, match="exclude each other"):
        VersionOptions(model_version=2, alias="best").parameters()
