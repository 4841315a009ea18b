"""Spans: the phases of a command and how long each took, for `--timings`."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

DEPTH = threading.local()
"""Number of spans that are open in each thread, as the attribute `open`."""

COMMAND = "command"
"""Name of the span of the process that runs a command."""

RECORDED: list["Span"] = []
"""Spans of this process, in the order in which they ended."""


@dataclass(frozen=True)
class Span:
    """A phase of a command.

    Attributes:
        name: What was done, such as "import torch".
        began: When it began, in seconds since the epoch.
        seconds: Wall-clock time that it took.
        depth: Number of spans of the same thread that it is part of.
    """

    name: str
    began: float
    seconds: float
    depth: int = 0


@contextmanager
def span(name: str) -> Iterator[None]:
    """Record the block as a span.

    Args:
        name: What the block does, without line breaks.
    """
    depth = getattr(DEPTH, "open", 0)
    DEPTH.open = depth + 1
    began, start = time.time(), time.monotonic()
    try:
        yield
    finally:
        DEPTH.open = depth
        RECORDED.append(Span(name, began, time.monotonic() - start, depth))


def to_table(spans: Sequence[Span]) -> str:
    """Return spans as a table, with what passes before and after the command itself.

    Args:
        spans: Spans of this process, and of the one that ran the command.
    """
    began, end = psutil.Process().create_time(), time.time()
    commands = [found for found in spans if found.name == COMMAND]
    inner = max(commands, key=lambda found: found.began, default=None)
    rows = [(found.began, found.depth, found.name, found.seconds) for found in spans]
    if inner is not None:
        rows.append((began, 0, "start of the processes", inner.began - began))
        last = inner.began + inner.seconds
        rows.append((last, 0, "end of the processes", end - last))
    lines = [f"{'phase':<44} {'from s':>8} {'seconds':>8}"]
    for start, depth, name, seconds in sorted(rows):
        label = "  " * depth + name
        lines.append(f"{label:<44} {start - began:8.2f} {seconds:8.2f}")
    lines.append(f"{'whole command':<44} {0:8.2f} {end - began:8.2f}")
    return "\n".join(lines)
