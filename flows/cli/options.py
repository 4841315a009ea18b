"""Arguments and options that commands share, and the option groups made of them.

A parameter of a command whose type is an option group stands for one option per field.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import typer

Function = TypeVar("Function", bound=Callable[..., None])

ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="YAML file with the configuration; `chainrule --help-config` shows all "
        "keys.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Parquet dataset in place of `data.path`: a file, folder, glob pattern or "
        "s3:// URI."
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
Input = Annotated[
    str | None, typer.Option(help="Dataset to read; defaults to `data.path`.")
]
Output = Annotated[
    str | None,
    typer.Option(
        help="Directory for the results; defaults to a directory under --storage."
    ),
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
class SectionOptions:
    """Options that replace keys of one section of the configuration, by their name.

    Attributes:
        section: Name of the section.
    """

    section: ClassVar[str]

    def overrides(self) -> dict[str, Any]:
        """Return the values of the options by configuration key, None if not given."""
        return {f"{self.section}.{k}": v for k, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class ClusterOptions(SectionOptions):
    """Options for the resources of training."""

    section = "resources"
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of training processes.")
    ] = None
    gpus_per_worker: Annotated[
        int | None, typer.Option(min=0, help="Number of GPUs per training process.")
    ] = None


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

    def parameters(self) -> dict[str, str]:
        """Return the chosen version as a parameter of a flow, empty for the default.

        Raises:
            typer.BadParameter: Both options are given.
        """
        if self.model_version is not None and self.alias is not None:
            raise typer.BadParameter("--model-version and --alias exclude each other")
        version = self.alias if self.model_version is None else str(self.model_version)
        return {} if version is None else {"version": version}


def command(
    app: typer.Typer, *, panel: str, example: str
) -> Callable[[Function], Function]:
    """Register a function as a command whose `--help` ends with an example.

    Args:
        app: The application to register the command with.
        panel: Title of the help panel that lists the command.
        example: A command line that shows its use.
    """

    def register(function: Function) -> Function:
        decorate = app.command(
            rich_help_panel=panel, epilog=f"**Example:** `{example}`"
        )
        decorate(expand_groups(function))
        return function

    return register


def expand_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a function so that the fields of its option groups become parameters."""
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        group = parameter.annotation
        if dataclasses.is_dataclass(group) and isinstance(group, type):
            groups[parameter.name] = group
            parameters += inspect.signature(group).parameters.values()
        else:
            parameters.append(parameter)

    @functools.wraps(function)
    def call(**values: Any) -> None:
        for name, group in groups.items():
            fields = dataclasses.fields(group)
            values[name] = group(**{f.name: values.pop(f.name) for f in fields})
        function(**values)

    keyword_only = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    call.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]  # read by typer
    return call
