"""The text that tells what `chainrule verify` found."""

from rich.markup import escape

from tasks.runtime.verification import Verification

MEGABYTE = 1_000_000
"""Bytes of a megabyte."""


def describe(result: Verification) -> str:
    """Return the result of a verification as text with rich markup."""
    megabytes = result.bytes / MEGABYTE
    speed = megabytes / max(result.seconds, 1e-3)
    lines = [
        f"[bold]{escape(result.path)}[/]: {result.files:,} files, {megabytes:,.1f} MB "
        f"in {result.seconds:.1f} s, {speed:,.0f} MB/s"
    ]
    lines += [
        f"  [red]{escape(fault.path)}[/]: {escape(fault.reason)}"
        for fault in result.faults
    ]
    if result.faults:
        lines.append(
            "  give the commands that wrote these results again: they write what is "
            "damaged anew"
        )
    else:
        lines.append("  every file is as it was written")
    return "\n".join(lines)
