"""Generate the reference pages from the code; a hook of MkDocs.

`on_files` adds one page per topic: the command line, the configuration, the columns of
every output, the JSON results and the Python API. Nothing is written to the sources.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel, TypeAdapter
from typer.main import get_command

from flows.cli import config_reference, main
from flows.cli.config_reference import sections_of
from flows.outcomes import Outcome
from tasks.config.root import Config
from tasks.inference.output_columns import OUTPUTS

PYTHON_API = {
    "Densities over tables": [
        "ar_models.density.table_density",
        "ar_models.density.scorer",
        "ar_models.density.sampler",
        "ar_models.density.imputer",
        "ar_models.density.saved_form",
    ],
    "Encoding of tables": ["ar_models.tables.encoder"],
    "Model families": ["ar_models.families.base", "ar_models.families.made"],
    "Variables and distributions": ["ar_models.variables"],
}
"""Modules of the Python API by section of the page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the documentation."""
    for name, page in PAGES.items():
        content = "\n".join(page()) + "\n"
        files.append(File.generated(config, name, content=content))
    return files


def command_line() -> Iterator[str]:
    """Yield the page of all commands with their arguments and options."""
    yield "# Command line\n"
    group: Any = get_command(main.app)  # a group of commands
    for name, command in sorted(group.commands.items()):
        yield f"\n## chainrule {name}\n"
        yield (command.help or "").strip()
        context = command.context_class(command, info_name=f"chainrule {name}")
        yield f"\n    {command.get_usage(context).removeprefix('Usage: ')}\n"
        options = [p.get_help_record(context) for p in command.params]
        rows = [record for record in options if record]
        if rows:
            yield from table(("option", "meaning"), rows)
        if command.epilog:
            yield f"\n{command.epilog}\n"


def configuration() -> Iterator[str]:
    """Yield the page of all configuration keys."""
    yield "# Configuration\n"
    yield (
        "One YAML file configures all commands. Unknown keys are errors. "
        "`chainrule --help-config` prints the same as commented YAML, and "
        "`--set KEY=VALUE` overrides a key for one run."
    )
    yield from section_page("Top level", Config, "")


def section_page(title: str, section: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the keys of a section as a table, then the sections that it contains."""
    yield f"\n## {title}\n\n{documentation(section)}\n"
    fields = section.model_fields.items()
    rows = [
        (
            f"`{prefix}{name}`",
            config_reference.type_of(field).replace("{", "\\{"),
            f"`{config_reference.default_of(field)}`",
            field.description or "",
        )
        for name, field in fields
        if not sections_of(field.annotation)
    ]
    if rows:
        yield from table(("key", "type", "default", "meaning"), rows)
    for name, field in fields:
        choices = sections_of(field.annotation)
        for choice in choices:
            title = f"{prefix}{name}"
            if len(choices) > 1:
                title += f": {variant(choice)}"
            yield from section_page(title, choice, f"{prefix}{name}.")


def variant(section: type[BaseModel]) -> str:
    """Return what tells the alternatives of a section apart, such as the family."""
    return next(
        str(field.default)
        for field in section.model_fields.values()
        if get_origin(field.annotation) is Literal
    )


def output_columns() -> Iterator[str]:
    """Yield the page of the columns of every output."""
    yield "# Output columns\n"
    yield (
        "Outputs are directories of Parquet files with a `_manifest.json`. Rows keep "
        "the order of the input; id and partition columns come first. A meaning that "
        "begins with a key says that the column is written only if that key is set."
    )
    for name, columns in OUTPUTS.items():
        yield f"\n## {name}\n"
        rows = [(f"`{c.name}`", c.type, c.meaning) for c in columns]
        yield from table(("column", "type", "meaning"), rows)


def json_results() -> Iterator[str]:
    """Yield the page of the JSON objects that `--json` prints."""
    yield "# JSON results\n"
    yield (
        "With `--json` a command prints one JSON object on stdout: the fields of the "
        "dataclass below, and of the dataclasses that it contains."
    )
    for outcome in sorted(all_subclasses(Outcome), key=lambda o: o.__name__):
        yield f"\n## {outcome.__name__}\n\n{documentation(outcome)}\n"
        yield "```json"
        yield json.dumps(TypeAdapter(outcome).json_schema(), indent=2)
        yield "```"


def all_subclasses(parent: type) -> set[type]:
    """Return the direct and indirect subclasses of a class."""
    direct = set(parent.__subclasses__())
    return direct.union(*(all_subclasses(child) for child in direct))


def documentation(subject: type) -> str:
    """Return the docstring of a class up to its list of attributes."""
    return inspect.cleandoc(subject.__doc__ or "").partition("\n\nAttributes:")[0]


def decisions() -> Iterator[str]:
    """Yield the index of the decision records."""
    yield "# Decisions\n"
    yield "Each record states a context, a decision and its consequences.\n"
    for path in sorted(Path(__file__).parent.glob("decisions/0*.md")):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        yield f"- [{title}]({path.name})"


def python_api() -> Iterator[str]:
    """Yield the page of the Python API, which mkdocstrings fills."""
    yield "# Python API\n"
    for title, modules in PYTHON_API.items():
        yield f"\n## {title}\n"
        yield from (
            f"\n::: {module}\n    options:\n      heading_level: 3"
            for module in modules
        )


def table(head: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "\n| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = (" ".join(str(cell).split()).replace("|", "\\|") for cell in row)
        yield "| " + " | ".join(cells) + " |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "reference/cli.md": command_line,
    "reference/configuration.md": configuration,
    "reference/outputs.md": output_columns,
    "reference/results.md": json_results,
    "reference/python.md": python_api,
    "decisions/index.md": decisions,
}
"""The generated pages by path."""
