"""The `chainrule` command.

Heavy modules are imported inside the functions of commands, so that `--help` answers at
once.
"""

from typing import Annotated

import typer

from flows.cli import inference, operations, registry, training
from flows.cli.execution import ExitCode

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn the probability of every row of a Parquet dataset; then score, explain "
    "and sample rows with it.\n\n"
    "Start with **chainrule init DATA > my.yaml**, check the file, then run "
    "**chainrule retrain my.yaml**. **chainrule demo** shows all steps.\n\n"
    "Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 data or model "
    "refused, or drift found; 130 and 143 after Ctrl-C and SIGTERM.",
    epilog="**Example:** `chainrule --help-config`",
)
for commands in (training, inference, registry, operations):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command that the arguments of this process name."""
    app(prog_name="chainrule")


@app.callback(invoke_without_command=True)
def show_information(
    help_config: Annotated[
        bool,
        typer.Option(
            "--help-config", help="Show all configuration keys with their defaults."
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    """Answer the options that need no command."""
    if help_config:
        from flows.cli.config_reference import reference

        typer.echo(reference(), nl=False)
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(installed_version("chainrule"))
    if help_config or version:
        raise typer.Exit(ExitCode.DONE)
