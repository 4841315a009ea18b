"""Output of a command: results on stdout, progress on stderr, all else in a log file.

Libraries write to the file descriptors 1 and 2 as they please (Ray's C++ code, servers
that are started). `open_log` redirects both to the log file and keeps the terminal for
this module, so that stdout carries results only.
"""

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from tasks.runtime.redaction import redact

PROGRESS_SECONDS = 10.0
"""Minimum seconds between two lines of progress where no bar can be drawn."""

MAX_LOGS = 100
"""Maximum number of log files in a folder; the oldest ones are deleted."""


class CommandConsole:
    """The terminal of a command, independent of redirected file descriptors 1 and 2.

    Attributes:
        as_json: Whether results are printed as JSON.
        log: Path of the log file, once it is open.
        out: Stream for results.
        err: Stream for messages and progress.
        console: Rich console on `err`.
        bars: Progress bars, while the log file is open.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.log: Path | None = None
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        self.console = Console(file=self.err, highlight=False)
        self.bars: Progress | None = None

    def print_line(self, text: str) -> None:
        """Print a line with rich markup to stderr."""
        self.console.print(text, soft_wrap=True)

    def print_result(self, content: dict[str, Any], text: str) -> None:
        """Print a result to stdout.

        Args:
            content: The result as a JSON object, printed if `as_json` is set.
            text: The result as text with rich markup, printed otherwise.
        """
        if self.bars is not None:
            self.bars.stop()  # They would be drawn over it.
        if self.as_json:
            print(json.dumps(content), file=self.out, flush=True)
        else:
            Console(file=self.out, highlight=False).print(text, soft_wrap=True)

    def print_error(self, message: str, log: Path | None = None) -> None:
        """Print an error to stderr, and as a JSON object to stdout if `as_json` is set.

        Args:
            message: The message, without rich markup.
            log: Log file with details.
        """
        message = redact(message)
        self.console.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
        if log is not None:
            self.console.print(f"[dim]details: {escape(str(log))}[/]", soft_wrap=True)
        if self.as_json:
            content = {"status": "failed", "error": message}
            print(json.dumps(content), file=self.out, flush=True)

    @contextlib.contextmanager
    def open_log(self, path: Path, *, debug: bool = False) -> Iterator[None]:
        """Log to a new file and show progress while the block runs.

        Args:
            path: The log file.
            debug: Whether file descriptors 1 and 2 stay connected to the terminal.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("*.log"))[: -MAX_LOGS + 1]:
            old.unlink(missing_ok=True)
        self.log = path
        with (
            open(path, "a", encoding="utf-8") as log,
            contextlib.ExitStack() as stack,
        ):
            if not debug:
                self.redirect(log)
            self.bars = stack.enter_context(self.progress_bars())
            configure_logging(log, ConsoleHandler(self.console, self.bars))
            # Servers that stop later still log, and the file is closed by then.
            stack.callback(
                setattr, logging.getLogger(), "handlers", [logging.NullHandler()]
            )
            yield

    def redirect(self, log: TextIO) -> None:
        """Redirect descriptors 1 and 2 to a file; `out` and `err` keep the terminal."""
        for name, descriptor in (("out", 1), ("err", 2)):
            stream = open(os.dup(descriptor), "w", encoding="utf-8")  # noqa: SIM115
            setattr(self, name, stream)
            os.dup2(log.fileno(), descriptor)
        self.console = Console(file=self.err, highlight=False)

    def progress_bars(self) -> Progress:
        """Return progress bars on stderr, disabled where that is not a terminal."""
        return Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )


class ConsoleHandler(logging.Handler):
    """Logging handler that shows this project's records on a console.

    Records with a `progress` become progress bars, or lines where no bar can be drawn.
    """

    def __init__(self, console: Console, bars: Progress) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # There may be a hundred thousand fragments; the log file has a line for each.
        ours = record.name.split(".")[0] in ("tasks", "flows")
        return ours and not hasattr(record, "fragment")

    def emit(self, record: logging.LogRecord) -> None:
        progress = getattr(record, "progress", None)
        if progress is None:
            colour = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
            text = escape(redact(record.getMessage()))
            self.console.print(
                f"[{colour}]{text}[/]" if colour else text, soft_wrap=True
            )
        elif self.bars.disable:
            self.print_progress(*progress)
        else:
            self.update_bar(*progress)

    def update_bar(self, name: str, done: int, total: int) -> None:
        """Draw the progress bar of a name, or update it."""
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(escape(name), total=total)
        self.bars.update(self.tasks[name], completed=done, total=total)

    def print_progress(self, name: str, done: int, total: int) -> None:
        """Print a line of progress, at the end or after `PROGRESS_SECONDS`."""
        now = time.monotonic()
        last = self.printed.setdefault(name, now)
        if done >= total or now - last >= PROGRESS_SECONDS:
            self.console.print(escape(f"{name} {done:,} of {total:,}"), soft_wrap=True)
            self.printed[name] = now


class RedactingFormatter(logging.Formatter):
    """Formatter whose lines, tracebacks included, are without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logging(log: TextIO, handler: logging.Handler) -> None:
    """Log warnings of all loggers and information of this project's own.

    Prefect leaves the root logger alone if it has a handler with a formatter, so this
    must run before Prefect is imported.

    Args:
        log: File that all records are written to.
        handler: Handler that receives the same records.
    """
    to_file = logging.StreamHandler(log)
    to_file.setFormatter(
        RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers = [to_file, handler]
    root.setLevel(logging.WARNING)
    for name in ("tasks", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)
