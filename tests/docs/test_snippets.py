"""Every command, configuration and Python snippet of the documents is valid."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from flows.cli import main
from flows.cli.config_reference import sections_of
from tasks.config.root import Config

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "infra/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"^ {4}(?:\.venv/bin/)?chainrule (.+?)(?:\s+#.*)?$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the arguments of every `chainrule` command shown on a page."""
    text = page.read_text().replace("\\\n", " ")
    return [found.partition(" > ")[0].strip() for found in COMMAND.findall(text)]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced code blocks of a language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


SHOWN = sorted({(page, line) for page in PAGES for line in commands(page)})
CONFIGS = [(page, block) for page in PAGES for block in blocks(page, "yaml")]


def test_the_documents_show_commands_and_configurations() -> None:
    assert len(SHOWN) > 20
    assert len(CONFIGS) > 5


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=lambda v: str(v)[-40:])
def test_a_command_of_the_documents_parses(page: Path, line: str) -> None:
    group: Any = get_command(main.app)
    name, *arguments = shlex.split(line)
    command = group.commands[name]
    context = command.make_context(name, arguments, resilient_parsing=False)
    assert context.params


@pytest.mark.parametrize(("page", "block"), CONFIGS, ids=lambda v: str(v)[-40:])
def test_a_configuration_of_the_documents_is_valid(page: Path, block: str) -> None:
    Config.model_validate(yaml.safe_load(block))


def test_links_between_documents_lead_somewhere() -> None:
    generated = {"outputs.md", "configuration.md", "cli.md", "python.md", "results.md"}
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            path = page.parent / target
            assert path.exists() or path.name in generated, f"{page}: {target}"


def keys(section: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the dotted names of all configuration keys."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        found.add(prefix + name)
        for choice in sections_of(field.annotation):
            found |= keys(choice, f"{prefix}{name}.")
    return found


def test_configuration_keys_in_the_text_exist() -> None:
    known = keys(Config)
    section_names = "|".join(Config.model_fields)
    for page in PAGES:
        named = re.findall(rf"`((?:{section_names})\.[a-z_.]+)\b", page.read_text())
        assert set(named) <= known, page
