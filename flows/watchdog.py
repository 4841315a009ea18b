"""Ends the processes of a command that is gone; a program of its own.

    python watchdog.py MARKER < pipe

It waits until the other end of the pipe is closed, which the system does however the
command ended, SIGKILL included. Then it ends every process that carries MARKER in the
environment it was started with, and every descendant of one. Only the standard library
is used, so that it costs a few MB and starts at once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

VARIABLE = "CHAINRULE_COMMAND"
"""Environment variable with the marker, inherited by all that a command starts."""

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""


def marked(marker: str) -> set[int]:
    """Ids of living processes that carry `marker`, and of their descendants."""
    table = from_proc() if Path("/proc/self/environ").exists() else from_ps()
    wanted = f"{VARIABLE}={marker}"
    found = {pid for pid, (_, environment) in table.items() if wanted in environment}
    while True:
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more


def from_proc() -> dict[int, tuple[int, str]]:
    """Parent and environment of every living process, as Linux shows them."""
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # After the name, which is in brackets and may hold anything.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended meanwhile.
        except PermissionError:
            environment = ""  # Another user's.
        if state != "Z":
            table[int(entry.name)] = (int(parent), environment)
    return table


def from_ps() -> dict[int, tuple[int, str]]:
    """Parent and environment of every living process, as `ps` shows them."""
    lines = subprocess.run(
        ["ps", "axeww", "-o", "pid=,ppid=,stat=,command="],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout.splitlines()
    table = {}
    for line in lines:
        pid, parent, state, command = (*line.split(None, 3), "")[:4]
        if not state.startswith("Z"):
            table[int(pid)] = (int(parent), command)
    return table


def end(marker: str) -> None:
    """Ends all processes that carry `marker`: SIGTERM, and SIGKILL after `GRACE`."""
    deadline = time.monotonic() + GRACE
    told: set[int] = set()
    while left := marked(marker):
        if time.monotonic() > deadline:
            send(left, signal.SIGKILL)
        else:
            send(left - told, signal.SIGTERM)
            told |= left
        time.sleep(0.05)


def send(pids: Iterable[int], what: signal.Signals) -> None:
    """Sends a signal to those of the processes that still are there."""
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(sys.argv[1])
