"""Start of the `chainrule` command, before anything that takes time is imported."""

from flows.process import interrupts, report


def main() -> None:
    """Run the command that the arguments of this process name."""
    with interrupts.end_quietly():
        from flows.cli.main import main as run
    try:
        run()
    finally:
        report.tell_end()
