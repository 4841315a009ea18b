"""Run a command in a supervised child process, so that no process outlives it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from flows.process import reaper

SUPERVISOR_VARIABLE = "CHAINRULE_SUPERVISED"
"""Environment variable of a supervised child: the process id of its supervisor."""

INTERRUPT_SECONDS = 15.0
"""Seconds that an interrupted command may take to end before it is killed."""


def is_supervised() -> bool:
    """Return whether this process was started by `supervise`."""
    return os.environ.get(SUPERVISOR_VARIABLE) == str(os.getppid())


def supervise(arguments: Sequence[str]) -> int:
    """Run `chainrule ARGUMENTS` in a child process and end whatever it leaves behind.

    The child has a session of its own, since Ray leaves its process group and would
    miss a Ctrl-C. The first SIGINT, SIGTERM or SIGHUP received here is passed on as
    SIGINT, so that flows end as crashed and servers stop; the second one, or the end of
    `INTERRUPT_SECONDS`, kills the child. A reaper ends all processes that are left when
    the child ends, or when this process is killed.

    Args:
        arguments: Arguments of the command line, without the program.

    Returns:
        The exit code: the child's, or 128 plus the number of the signal that ended it.
    """
    marker = uuid.uuid4().hex
    reaping = start_reaper(marker)
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        child.send_signal(signal.SIGINT if len(received) == 1 else signal.SIGKILL)

    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=os.environ
        | {reaper.VARIABLE: marker, SUPERVISOR_VARIABLE: str(os.getpid())},
        start_new_session=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    code = wait(child, received)
    reaping.communicate()
    if received and code in (-signal.SIGKILL, 128 + signal.SIGINT):
        return 128 + received[0]
    return code if code >= 0 else 128 - code


def start_reaper(marker: str) -> subprocess.Popen[bytes]:
    """Start a process that ends the marked processes when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-I", reaper.__file__, marker],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


@contextmanager
def reaped() -> Iterator[None]:
    """End every process that is started in the block when the block or we end.

    For flow runs of a Prefect worker, which `supervise` does not watch. In a supervised
    command it does nothing, since that has a reaper already.
    """
    if reaper.VARIABLE in os.environ:
        yield
        return
    marker = uuid.uuid4().hex
    reaping = start_reaper(marker)
    os.environ[reaper.VARIABLE] = marker
    try:
        yield
    finally:
        del os.environ[reaper.VARIABLE]
        reaping.communicate()


def wait(child: subprocess.Popen[bytes], received: Sequence[int]) -> int:
    """Wait for a child process; kill it if it does not end after a signal.

    Args:
        child: The process.
        received: Signals received so far; a signal handler adds to it.

    Returns:
        The exit code of the child, negative if a signal ended it.
    """
    deadline = None
    while True:
        try:
            return child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if received and deadline is None:
                deadline = time.monotonic() + INTERRUPT_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                child.kill()
