"""What a command shows on stdout, stderr and in its log."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.console import CommandConsole, ConsoleHandler
from tasks.runtime import progress

NOISY = """
import logging, os, pathlib, subprocess, sys, warnings
from flows.cli.console import CommandConsole
from tasks.runtime import progress
terminal = CommandConsole(as_json=True)
with terminal.open_log(pathlib.Path(sys.argv[1])):
    print("noise on stdout", flush=True)
    subprocess.run(["sh", "-c", "echo noise of a child; echo and on stderr >&2"])
    warnings.warn("noise of a library")
    logging.getLogger("other").warning("noise in a log")
    logging.getLogger("tasks.x").info("news")
    progress.report(logging.getLogger("tasks.x"), "x: rows", 5, 5)
    terminal.print_result({"status": "done"}, "never seen")
"""


def test_stdout_is_for_the_result_and_noise_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    ended = subprocess.run(
        [sys.executable, "-c", NOISY, str(log)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert json.loads(ended.stdout) == {"status": "done"}
    assert ended.stderr.splitlines() == ["news", "x: rows 5 of 5"]
    said = log.read_text()
    for part in (
        "noise on stdout",
        "noise of a child",
        "and on stderr",
        "noise of a library",
        "WARNING other: noise in a log",
        "INFO    tasks.x: news",
    ):
        assert part in said


def records(stream: io.StringIO, *, terminal: bool) -> logging.Logger:
    """Return a logger whose records are shown on a stream alone."""
    shown = CommandConsole()
    shown.console = Console(file=stream, force_terminal=terminal, width=100)
    logger = logging.getLogger("tasks.test_terminal")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [ConsoleHandler(shown.console, shown.progress_bars())]
    return logger


def test_a_line_of_progress_comes_now_and_then_and_at_the_end() -> None:
    stream = io.StringIO()
    logger = records(stream, terminal=False)
    for done in range(1001):
        progress.report(logger, "score: rows", done, 1000)
    assert stream.getvalue() == "score: rows 1,000 of 1,000\n"


def test_lines_of_fragments_are_for_the_log_file_only() -> None:
    stream = io.StringIO()
    logger = records(stream, terminal=False)
    logger.info("fragment %d", 7, extra={"fragment": {"fragment": 7}})
    logger.info("done")
    assert stream.getvalue() == "done\n"


def test_a_terminal_shows_bars() -> None:
    stream = io.StringIO()
    logger = records(stream, terminal=True)
    handler = logger.handlers[0]
    assert isinstance(handler, ConsoleHandler)
    with handler.bars:
        for done in range(11):
            progress.report(logger, "score: rows", done, 10)
    assert "score: rows" in stream.getvalue()
    assert "10/10" in stream.getvalue()


def test_markup_in_messages_is_not_interpreted() -> None:
    stream = io.StringIO()
    logger = records(stream, terminal=False)
    logger.info("file month=[1-9] and [red]")
    assert stream.getvalue() == "file month=[1-9] and [red]\n"


@pytest.mark.parametrize("count", [3, 120])
def test_old_logs_go(tmp_path: Path, count: int) -> None:
    for i in range(count):
        (tmp_path / f"2000-{i:03d}.log").touch()
    code = (
        "import pathlib, sys; from flows.cli.console import CommandConsole\n"
        "with CommandConsole().open_log(pathlib.Path(sys.argv[1])): pass"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "2020.log"], check=True)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == min(count + 1, 100)
    assert left[-1] == "2020.log"
