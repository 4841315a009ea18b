"""Start of the `chainrule` command, before anything that takes time is imported."""

import os
import sys

from flows.process import interrupts, report, supervisor
from tasks.runtime import spans

OPTION = "--timings"
"""Option that shows the phases of the command at the end."""


def main() -> None:
    """Run the command that the arguments of this process name."""
    terminal = open(os.dup(2), "w", encoding="utf-8")  # noqa: SIM115  # stays open
    with interrupts.end_quietly(), spans.span("import the command line"):
        from flows.cli.main import main as run
    try:
        with spans.span(spans.COMMAND):
            run()
    finally:
        if supervisor.is_supervised():
            report.tell_spans(spans.RECORDED)
        elif OPTION in sys.argv:
            terminal.write(spans.to_table(spans.RECORDED) + "\n")
            terminal.flush()
        report.tell_end()
