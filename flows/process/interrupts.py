"""Ctrl-C before a command has started: one line instead of a traceback."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
"""Exit code after an interruption."""


@contextmanager
def end_quietly() -> Iterator[None]:
    """End this process with one line if it is interrupted while the block runs.

    For imports, which an exception could leave in any state.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, b"chainrule: interrupted before it started\n")
        os._exit(EXIT_CODE)

    previous = signal.signal(signal.SIGINT, end)
    # A supervisor blocks the signal until this process can say that it was interrupted.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
