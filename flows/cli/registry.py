"""Commands that move the aliases of registered versions."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.console import CommandConsole
from flows.cli.execution import default_storage, session
from flows.cli.options import CommonOptions, ModelName, command

if TYPE_CHECKING:
    from tasks.registry.alias_state import AliasState

PANEL = "Manage registered versions"
"""Title of the help panel that lists these commands."""

app = typer.Typer(rich_markup_mode="markdown")


@command(
    app,
    panel=PANEL,
    example="chainrule promote orders 3 --reason 'approved by the risk team'",
)
def promote(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    reason: Annotated[str, typer.Option(help="Reason to record with the version.")],
    common: CommonOptions,
) -> None:
    """Make a version champion despite the gate, and record who did so and why."""
    from tasks.registry import promotion

    with session("promote", default_storage(common), common) as console:
        print_aliases(console, promotion.promote(name, version, reason))


@command(
    app, panel=PANEL, example="chainrule rollback orders --reason 'too many alarms'"
)
def rollback(
    name: ModelName,
    *,
    reason: Annotated[
        str, typer.Option(help="Reason to record with the version.")
    ] = "no reason was given",
    common: CommonOptions,
) -> None:
    """Make the previous champion the champion again.

    The replaced version is blocked: no retraining makes it champion again, only
    `chainrule promote` does.
    """
    from tasks.registry import promotion

    with session("rollback", default_storage(common), common) as console:
        print_aliases(console, promotion.rollback(name, reason))


def print_aliases(console: CommandConsole, state: "AliasState") -> None:
    """Print the aliases of a registered model after a change."""
    from flows.cli import formatting
    from flows.outcomes import AliasOutcome

    content = asdict(AliasOutcome(**asdict(state)))
    console.print_result(content, formatting.describe_aliases(state))
