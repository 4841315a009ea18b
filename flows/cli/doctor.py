"""The table of the checks that `chainrule doctor` has run."""

from collections.abc import Sequence

from rich.markup import escape

from tasks.runtime.preflight import Check


def describe(checks: Sequence[Check]) -> str:
    """Return the checks as text with rich markup, one line each."""
    width = max(len(check.name) for check in checks)
    lines = [
        f"{'[green]ok  [/]' if check.passed else '[red]FAIL[/]'}  "
        f"[bold]{check.name:<{width}}[/]  {escape(check.message)}"
        for check in checks
    ]
    failed = sum(not check.passed for check in checks)
    lines.append(
        f"{failed} of {len(checks)} checks failed"
        if failed
        else f"all {len(checks)} checks passed; work can begin"
    )
    return "\n".join(lines)
