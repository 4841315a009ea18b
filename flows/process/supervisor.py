"""Run a command in a supervised child process, so that no process outlives it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from flows.process import interrupts, reaper, report
from tasks.runtime import memory
from tasks.runtime.failures import AGAIN
from tasks.runtime.spans import Span

SUPERVISOR_VARIABLE = "CHAINRULE_SUPERVISED"
"""Environment variable of a supervised child: the process id of its supervisor."""

ENTRY = Path(__file__).parents[2] / "chainrule_entry.py"
"""The program of the `chainrule` command."""

GOOD_ORDER = b"ended"
"""Message to a reaper that the command has ended by itself."""

INTERRUPT_SECONDS = 15.0
"""Seconds that an interrupted command may take to end before it is killed."""


def is_supervised() -> bool:
    """Return whether this process was started by `supervise`."""
    return os.environ.get(SUPERVISOR_VARIABLE) == str(os.getppid())


def supervise(
    arguments: Sequence[str],
    complain: Callable[[str, Path | None], None],
    show: Callable[[Sequence[Span]], None] = lambda spans: None,
) -> int:
    """Run `chainrule ARGUMENTS` in a child process and end whatever it leaves behind.

    The child has a session of its own, since Ray leaves its process group and would
    miss a Ctrl-C. The first SIGINT, SIGTERM or SIGHUP received here is passed on as
    SIGINT, so that flows end as crashed and servers stop; the second one, or the end of
    `INTERRUPT_SECONDS`, kills the child. A reaper ends all processes that are left when
    the child ends, or when this process is killed.

    Args:
        arguments: Arguments of the command line, without the program.
        complain: Called with a message, and the log if there is one, if the child ends
            without a word of its own.
        show: Called with the phases of the command after its end.

    Returns:
        The exit code: the child's, or 128 plus the number of the signal that ended it.
    """
    marker = uuid.uuid4().hex
    reaping = start_reaper(marker)
    received: list[int] = []
    children: list[subprocess.Popen[bytes]] = []
    killed = memory.killed_count()

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(signal.SIGINT if len(received) == 1 else signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    child, reports = start_child(arguments, marker)
    children.append(child)
    if received:  # before there was a child to pass it on to
        child.send_signal(signal.SIGINT)
    code = wait(child, received)
    told = report.read(reports)
    os.close(reports)
    reaping.communicate(GOOD_ORDER if told.ended else None)
    show(told.spans)
    if received and not told.ended and code != interrupts.EXIT_CODE:
        complain("interrupted; give the same command again to continue", told.log)
    elif code and not told.ended and not received:
        out_of_memory = memory.killed_count() > killed
        complain(describe_death(code, out_of_memory=out_of_memory), told.log)
    if received and code in (-signal.SIGKILL, -signal.SIGINT, 128 + signal.SIGINT):
        return 128 + received[0]
    return code if code >= 0 else 128 - code


def start_child(
    arguments: Sequence[str], marker: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Start `chainrule ARGUMENTS`, and return what it reports to as well.

    Args:
        arguments: Arguments of the command line, without the program.
        marker: Marker of its processes.
    """
    reading, writing = os.pipe()
    own = {
        reaper.VARIABLE: marker,
        SUPERVISOR_VARIABLE: str(os.getpid()),
        report.VARIABLE: report.address(writing),
    }
    # The child inherits the mask and takes an interruption once it can say so.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", str(ENTRY), *arguments],
            env=os.environ | own,
            start_new_session=True,
            pass_fds=[writing],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.close(writing)
    return child, reading


def describe_death(code: int, *, out_of_memory: bool) -> str:
    """Return the message for a child that ended without a word.

    Args:
        code: Its exit code, negative if a signal ended it.
        out_of_memory: Whether the kernel has ended a process for want of memory.
    """
    if out_of_memory:
        limit = memory.limit()
        size = "" if limit is None else f" of {limit / 2**30:.1f} GiB"
        return (
            f"a process was killed since the memory limit{size} was reached; raise the "
            "limit, or lower rows_per_fragment, train.batch_size or "
            f"resources.workers, and {AGAIN}"
        )
    if code == -signal.SIGKILL:
        return (
            "the process of this command was killed (SIGKILL); if the machine ran out "
            f"of memory, use smaller parts or fewer workers; {AGAIN}"
        )
    if code < 0:
        name = signal.Signals(-code).name
        return f"the process of this command crashed ({name}); {AGAIN}"
    return (
        "a process that this command depends on, such as one of Ray's, has ended, and "
        f"the command with it (exit code {code}); {AGAIN}"
    )


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
        reaping.communicate(GOOD_ORDER)


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
