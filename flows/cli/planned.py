"""The text that tells what a command would do."""

from rich.markup import escape

from flows.cli.formatting import INDENT
from flows.outcomes import DryRunOutcome
from tasks.runtime.dry_runs import JobPlan

STATES = {
    "finished": "[green]finished[/], nothing to do",
    "unfinished": "unfinished, goes on",
    "new": "new",
    "replaces another job": "[yellow]replaces the results of another job[/]",
}
"""Description of a planned job, by the state of its directory."""


def describe(outcome: DryRunOutcome) -> str:
    """Return what a command would do as text with rich markup."""
    lines = []
    for plan in outcome.jobs:
        lines += [
            f"[bold]{plan.kind:<10}[/] {'; '.join(facts(plan))}",
            f"{INDENT}{escape(plan.path)}",
        ]
    if outcome.later:
        names = ", ".join(outcome.later)
        lines.append(f"[bold]{'then':<10}[/] {names}: after the jobs above")
    lines.append("a dry run: nothing was written, and no server was started")
    return "\n".join(lines)


def facts(plan: JobPlan) -> list[str]:
    """Return the state of a job, what it reads, and the parts that it writes."""
    found = [STATES[plan.state]]
    if plan.state == "finished":
        return found
    if plan.files:
        found.append(f"reads {plan.files:,} {'file' if plan.files == 1 else 'files'}")
    if plan.parts:
        to_write = plan.parts - plan.finished_parts
        found.append(
            f"{plan.finished_parts:,} of {plan.parts:,} parts are there, "
            f"{to_write:,} to be written ({plan.rows:,} rows in all)"
        )
    return found
