"""No process outlives its command, and no two commands write the same output."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from flows import watchdog

PATIENCE = 15.0
"""Seconds that an interrupted command may take to leave in good order."""


def is_supervised() -> bool:
    """Whether this process was started by `supervise`."""
    return os.environ.get("CHAINRULE_SUPERVISED") == str(os.getppid())


def supervise(arguments: Sequence[str]) -> int:
    """Runs `chainrule ARGUMENTS` in a child and lets nothing of it survive.

    This process stays small and only waits. The child has a session of its own, since
    Ray leaves its process group and would miss a Ctrl-C. A first SIGINT or SIGTERM here
    becomes one SIGINT there, so that flows end as crashed and servers stop; a second
    one, or `PATIENCE`, ends it at once. A watchdog ends all that is left when the child
    ends, or when this process is killed.

    Returns:
        The exit code: the child's, or 128 + the signal that ended it.
    """
    marker = uuid.uuid4().hex
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", watchdog.__file__, marker],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        child.send_signal(signal.SIGINT if len(received) == 1 else signal.SIGKILL)

    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=os.environ
        | {watchdog.VARIABLE: marker, "CHAINRULE_SUPERVISED": str(os.getpid())},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    code = wait(child, received)
    guard.communicate()
    if received and code in (-signal.SIGKILL, 128 + signal.SIGINT):
        return 128 + received[0]
    return code if code >= 0 else 128 - code


@contextmanager
def guard() -> Iterator[None]:
    """Lets nothing that is started in the block survive it, or this process.

    For flow runs that a worker starts, which no `supervise` watches. A supervised
    command has its guard already.
    """
    if watchdog.VARIABLE in os.environ:
        yield
        return
    marker = uuid.uuid4().hex
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", watchdog.__file__, marker],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    os.environ[watchdog.VARIABLE] = marker
    try:
        yield
    finally:
        del os.environ[watchdog.VARIABLE]
        watcher.communicate()


def wait(child: subprocess.Popen[bytes], received: Sequence[int]) -> int:
    """Waits for the child, and kills it `PATIENCE` after a signal was received."""
    deadline = None
    while True:
        try:
            return child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if received and deadline is None:
                deadline = time.monotonic() + PATIENCE
            if deadline is not None and time.monotonic() > deadline:
                child.kill()


class Lock:
    """An output that one command at a time writes, and what is known of its writer.

    The file names the processes and flow runs of the holder, so that the next one can
    clean up after a holder that was killed.

    Attributes:
        dead_flow_runs: Ids of flow runs that a killed holder left behind.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.flow_runs: list[str] = []
        file.seek(0)
        left = json.loads(file.read() or "{}")
        if left.get("marker"):
            watchdog.end(left["marker"])
        self.dead_flow_runs: list[str] = left.get("flow_runs", [])
        # Until they are marked, a second death must not lose them.
        self.record(*self.dead_flow_runs)

    def record(self, *flow_runs: str) -> None:
        """Writes down who holds the lock, and that these flow runs are theirs."""
        self.flow_runs += flow_runs
        self.write(
            {
                "pid": os.getpid(),
                "marker": os.environ.get(watchdog.VARIABLE),
                "flow_runs": self.flow_runs,
            }
        )

    def forget_dead(self) -> None:
        """Drops the dead flow runs, which are marked now."""
        dead = self.dead_flow_runs
        self.flow_runs = [run for run in self.flow_runs if run not in dead]
        self.record()

    def write(self, content: dict[str, Any]) -> None:  # JSON-able values
        """Replaces what the file says."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(json.dumps(content))
        self.file.flush()


@contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Holds the lock in the file at `path`; the system frees it when we are killed.

    Raises:
        BlockingIOError: Another command holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{path}: another chainrule command works on the same output; wait "
                "for it, or choose another name or output"
            ) from error
        lock = Lock(file)
        yield lock
        lock.write({})


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Holds the lock in the file at `path`, for a moment, as soon as it is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
