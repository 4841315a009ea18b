"""End the processes of a command that is gone; also a program of its own.

    python reaper.py MARKER < pipe

The program waits until the other end of the pipe is closed, which the operating system
does however the command ended, SIGKILL included. Then it ends every process that has
MARKER in the environment it was started with, and every descendant of such a process.
It looks for them until none was found for a while: a process that is just starting a
program shows no environment. The while is short if the command has written to the pipe
that it ended in good order.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

import psutil

VARIABLE = "CHAINRULE_COMMAND"
"""Environment variable that holds the marker; all child processes inherit it."""

GRACE_SECONDS = 3.0
"""Seconds between SIGTERM and SIGKILL."""

QUIET_SECONDS = 0.2
"""Seconds without a marked process after which a command in good order has none."""

POLL_SECONDS = 0.05
"""Seconds between two looks at the process table."""


def marked_processes(marker: str, variable: str = VARIABLE) -> set[int]:
    """Return the ids of living processes with a marker, and of their descendants.

    Args:
        marker: Value of the environment variable.
        variable: Name of the environment variable.
    """
    attributes = ["pid", "ppid", "status", "environ"]
    # Attributes of processes of other users are None.
    table = [process.info for process in psutil.process_iter(attributes)]
    living = [info for info in table if info["status"] != psutil.STATUS_ZOMBIE]
    found = {
        info["pid"]
        for info in living
        if (info["environ"] or {}).get(variable) == marker
    }
    while children := {i["pid"] for i in living if i["ppid"] in found} - found:
        found |= children
    return found - {os.getpid()}


def end_processes(marker: str, quiet: float = QUIET_SECONDS) -> None:
    """End all processes with a marker: SIGTERM first, SIGKILL after the grace period.

    Args:
        marker: Value of the environment variable `VARIABLE`.
        quiet: Seconds for which no process with the marker must have been seen.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    terminated: set[int] = set()
    empty_since: float | None = None
    while True:
        remaining = marked_processes(marker)
        now = time.monotonic()
        if remaining:
            empty_since = None
        elif empty_since is None:
            empty_since = now
        elif now - empty_since >= quiet:
            return
        if now > deadline:
            send_signal(remaining, signal.SIGKILL)
        else:
            send_signal(remaining - terminated, signal.SIGTERM)
            terminated |= remaining
        time.sleep(POLL_SECONDS if remaining else max(POLL_SECONDS, quiet / 4))


def send_signal(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to the given processes, except those that have already ended."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    in_good_order = bool(sys.stdin.buffer.read())
    end_processes(sys.argv[1], QUIET_SECONDS if in_good_order else GRACE_SECONDS)
