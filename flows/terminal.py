"""What a command shows: bars or plain lines on stderr, everything else in a log file.

Libraries below us write to the file descriptors 1 and 2 as they please (Ray's C++, the
servers that are started). `open_log` points both at the log file and keeps the terminal
for ourselves, so that stdout carries results only.
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
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 10.0
"""Where no bar can be drawn, a line of progress stands at least this far apart."""

KEPT_LOGS = 100
"""Log files that are kept; older ones go."""


class Terminal:
    """The two streams of a command, whatever file descriptors 1 and 2 point at.

    Attributes:
        log: The log file, once there is one.
        out: Results, for machines or to be piped on.
        err: Everything for the eyes.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.log: Path | None = None
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        self.console = Console(file=self.err, highlight=False)
        self.bars: Progress | None = None

    def say(self, text: str) -> None:
        """Shows a line on stderr; rich markup counts."""
        self.console.print(text, soft_wrap=True)

    def result(self, content: dict[str, Any], text: str) -> None:  # JSON-able
        """Shows a result on stdout: one JSON object, or text with rich markup."""
        if self.bars is not None:
            self.bars.stop()  # They would draw over it.
        if self.as_json:
            print(json.dumps(content), file=self.out, flush=True)
        else:
            Console(file=self.out, highlight=False).print(text, soft_wrap=True)

    def fail(self, message: str, log: Path | None = None) -> None:
        """Shows an error on stderr, and as an object on stdout where that is JSON."""
        self.console.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
        if log is not None:
            self.console.print(f"[dim]details: {escape(str(log))}[/]", soft_wrap=True)
        if self.as_json:
            content = {"status": "failed", "error": message}
            print(json.dumps(content), file=self.out, flush=True)

    @contextlib.contextmanager
    def open_log(self, path: Path, debug: bool = False) -> Iterator[None]:
        """Logs to a new file at `path` and draws progress, as long as the block runs.

        Args:
            path: The log file.
            debug: Leave descriptors 1 and 2 as they are, so that all noise is seen.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("*.log"))[: -KEPT_LOGS + 1]:
            old.unlink(missing_ok=True)
        self.log = path
        with (
            open(path, "a", encoding="utf-8") as log,
            contextlib.ExitStack() as stack,
        ):
            if not debug:
                self.divert(log)
            self.bars = stack.enter_context(self.progress())
            configure_logging(log, TerminalHandler(self.console, self.bars))
            # What is said after the end, such as by servers that stop, goes nowhere.
            stack.callback(
                setattr, logging.getLogger(), "handlers", [logging.NullHandler()]
            )
            yield

    def divert(self, log: TextIO) -> None:
        """Points descriptors 1 and 2 at `log`; `out` and `err` keep the old ones."""
        for name, descriptor in (("out", 1), ("err", 2)):
            stream = open(os.dup(descriptor), "w", encoding="utf-8")  # noqa: SIM115
            setattr(self, name, stream)
            os.dup2(log.fileno(), descriptor)
        self.console = Console(file=self.err, highlight=False)

    def progress(self) -> Progress:
        """The bars, drawn on stderr where it is a terminal and nothing elsewhere."""
        return Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )


class TerminalHandler(logging.Handler):
    """Shows our records: bars from those with `progress`, lines from the others."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.bars = progress
        self.tasks: dict[str, TaskID] = {}
        self.shown: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name.split(".")[0] in ("tasks", "flows")

    def emit(self, record: logging.LogRecord) -> None:
        progress = getattr(record, "progress", None)
        if progress is None:
            colour = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
            text = escape(record.getMessage())
            self.console.print(
                f"[{colour}]{text}[/]" if colour else text, soft_wrap=True
            )
        elif self.bars.disable:
            self.line(*progress)
        else:
            self.bar(*progress)

    def bar(self, what: str, done: int, total: int) -> None:
        """Draws or moves the bar of `what`."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(escape(what), total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)

    def line(self, what: str, done: int, total: int) -> None:
        """Writes a line, unless one for `what` stands there since a moment ago."""
        now = time.monotonic()
        if done >= total or now - self.shown.get(what, now) >= PLAIN_SECONDS:
            self.console.print(escape(f"{what} {done:,} of {total:,}"), soft_wrap=True)
            self.shown[what] = now
        self.shown.setdefault(what, now)


def configure_logging(log: TextIO, handler: logging.Handler) -> None:
    """Sends warnings of all and the news of our own loggers to `log` and `handler`.

    Prefect leaves the root logger alone when it already has a handler with a
    formatter, so this comes before its import.
    """
    to_file = logging.StreamHandler(log)
    to_file.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers = [to_file, handler]
    root.setLevel(logging.WARNING)
    for name in ("tasks", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)
