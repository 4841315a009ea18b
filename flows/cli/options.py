"""Arguments and options that commands share, and the option groups made of them.

A parameter of a command whose type is an option group stands for one option per field,
and its parameter `overrides` for one option per configuration key that it can replace.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from tasks.config.root import Config

Overrides = dict[str, Any]
"""Values of options by the configuration keys that they replace, None if not given."""

Function = TypeVar("Function", bound=Callable[..., None])

ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="YAML file with the configuration; `chainrule --help-config` shows all "
        "keys.",
    ),
]
ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the registered model.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the changes without making them.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output of another job.")
]


@dataclass(frozen=True)
class CommonOptions:
    """Options of every command that reads or writes results."""

    storage: Annotated[
        str | None,
        typer.Option(
            envvar="CHAINRULE_STORAGE",
            help="Root directory of all results, local or s3://.",
        ),
    ] = None
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object to stdout, nothing else."),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks and all output of libraries."),
    ] = False
    timings: Annotated[
        bool,
        typer.Option(
            "--timings",
            help="Show on stderr how long each phase of the command took.",
        ),
    ] = False


@dataclass(frozen=True)
class RunOptions(CommonOptions):
    """Options of every command that runs with a configuration."""

    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Value of any configuration key, such as train.epochs=5; may be "
            "repeated.",
        ),
    ] = None


@dataclass(frozen=True)
class FlowOptions(RunOptions):
    """Options of every command that runs jobs."""

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what the command would read, write and do again; nothing is "
            "written or started.",
        ),
    ] = False


@dataclass(frozen=True)
class VersionOptions:
    """Options that choose a registered version."""

    model_version: Annotated[
        int | None, typer.Option(min=1, help="Number of the registered version.")
    ] = None
    alias: Annotated[
        str | None,
        typer.Option(help="Alias of the registered version; defaults to champion."),
    ] = None

    def parameters(self) -> dict[str, Any]:
        """Return the chosen version as a parameter of a flow, empty for the default.

        Raises:
            typer.BadParameter: Both options are given.
        """
        if self.model_version is not None and self.alias is not None:
            raise typer.BadParameter("--model-version and --alias exclude each other")
        version = self.alias if self.model_version is None else str(self.model_version)
        return {} if version is None else {"version": version}


@dataclass(frozen=True)
class ModelJobOptions(VersionOptions):
    """Options of commands that apply a registered version to rows."""

    overwrite: Overwrite = False

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "overwrite": self.overwrite}


def command(
    app: typer.Typer, *keys: str, panel: str, example: str
) -> Callable[[Function], Function]:
    """Register a function as a command whose `--help` ends with an example.

    Args:
        app: The application to register the command with.
        *keys: Configuration keys that options of the command replace.
        panel: Title of the help panel that lists the command.
        example: A command line that shows its use.
    """

    def register(function: Function) -> Function:
        decorate = app.command(
            rich_help_panel=panel, epilog=f"**Example:** `{example}`"
        )
        decorate(expand_groups(function, keys))
        return function

    return register


def expand_groups(
    function: Callable[..., None], keys: Iterable[str]
) -> Callable[..., None]:
    """Wrap a function so that its option groups become one parameter per option.

    Args:
        function: Function of a command.
        keys: Configuration keys that its parameter `overrides` stands for.
    """
    signature = inspect.signature(function, eval_str=True)
    names = {key: option_name(key) for key in keys}
    groups: dict[str, Any] = {}  # dataclasses
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        group = parameter.annotation
        if parameter.name == "overrides":
            parameters += key_options(names)
        elif dataclasses.is_dataclass(group) and isinstance(group, type):
            groups[parameter.name] = group
            parameters += inspect.signature(group).parameters.values()
        else:
            parameters.append(parameter)

    @functools.wraps(function)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            fields = dataclasses.fields(group)
            values[name] = group(**{f.name: values.pop(f.name) for f in fields})
        if names:
            values["overrides"] = {key: values.pop(n) for key, n in names.items()}
        function(**values)

    keyword_only = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    call.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]  # read by typer
    return call


def option_name(key: str) -> str:
    """Return the name of the option that replaces a configuration key."""
    name = key.rpartition(".")[2]
    return "data" if name == "path" else name


def key_options(names: dict[str, str]) -> Iterator[inspect.Parameter]:
    """Yield a parameter for each configuration key, with its type and description.

    Args:
        names: Names of the options by key.
    """
    annotated: Any = Annotated  # The type is known at run time only.
    for key, name in names.items():
        section, _, field_name = key.partition(".")
        fields: Any = Config.model_fields[section].annotation  # a section
        field = fields.model_fields[field_name]
        kind = value_type(field.annotation)
        flags = [f"--{name.replace('_', '-')}"] if kind is bool else []
        option = typer.Option(*flags, help=field.description)
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=annotated[kind | None, option],
        )


def value_type(annotation: Any) -> Any:  # a type, a union or a literal
    """Return the type of the values of an option: bool, int, float or text."""
    if annotation in (bool, int, float):
        return annotation
    found = (value_type(part) for part in get_args(annotation))
    return next((kind for kind in found if kind is not str), str)
