"""Tests of what README.md and ARCHITECTURE.md name."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from ar_models.families.registry import MODELS
from flows.cli import main
from flows.cli.execution import ExitCode

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_readme_is_short_and_starts_with_the_two_commands() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    start = "\n".join(lines[:20])
    assert "make demo" in start
    assert "chainrule retrain" in start


def test_every_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"(?:`|/)chainrule (\w+)", README))
    commands = get_command(main.app).commands  # type: ignore[attr-defined]  # a group
    assert named
    assert named <= set(commands)


def test_every_target_of_the_readme_exists() -> None:
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.MULTILINE))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named
    assert named <= set(targets)


def test_the_readme_names_every_family() -> None:
    assert set(re.findall(r"^\| `(\w+)`", README, re.MULTILINE)) >= set(MODELS)


def test_exit_codes_are_as_the_readme_says() -> None:
    said = re.search(r"Exit codes: (.*?)\n\n", README, re.DOTALL)
    assert said is not None
    codes = {int(code) for code in re.findall(r"\b\d+\b", said[1])}
    assert codes == {*ExitCode, 143}


@pytest.mark.parametrize("layer", ["ar_models", "tasks", "flows"])
def test_the_architecture_names_every_package(layer: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = [path.parent for path in (ROOT / layer).glob("*/__init__.py")]
    assert packages
    assert [p.name for p in packages if f"`{layer}/{p.name}`" not in text] == []


def test_the_picture_is_there_and_small() -> None:
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert named
    for name in named:
        assert (ROOT / name).stat().st_size < 400_000
