"""Commands that move the aliases of registered versions."""

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.execution import default_storage, session
from flows.cli.options import CommonOptions, ModelName, command

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
    from flows.cli import formatting
    from tasks.registry import promotion

    with session("promote", default_storage(common), common) as console:
        moved = promotion.promote(name, version, reason)
        content = {"status": "done", **asdict(moved)}
        console.print_result(content, formatting.describe_aliases(moved))


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
    from flows.cli import formatting
    from tasks.registry import promotion

    with session("rollback", default_storage(common), common) as console:
        moved = promotion.rollback(name, reason)
        content = {"status": "done", **asdict(moved)}
        console.print_result(content, formatting.describe_aliases(moved))
