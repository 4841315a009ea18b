"""Child processes for tests, which wait for what tests do to them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from flows.process import reaper

SLEEP = "import time; time.sleep(60)"
"""Python code of a process that would live for a minute."""


def start(
    code: str, *arguments: str, marker: str = "", error: int | None = None
) -> subprocess.Popen[str]:
    """Start Python code in a child process.

    Args:
        code: The code.
        *arguments: Its command line arguments.
        marker: Marker of a command in the environment of the process.
        error: Where its standard error goes, as for `Popen`.
    """
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | ({reaper.VARIABLE: marker} if marker else {}),
        stdout=subprocess.PIPE,
        stderr=error,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)
