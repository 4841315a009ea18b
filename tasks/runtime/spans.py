"""Spans: the phases of a command and how long each took, for `--timings`."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


def exported_span(name: str) -> AbstractContextManager[object]:
    """Return the context of an OpenTelemetry span, within that of Prefect's flow run.

    Without a tracer provider nothing is exported. OpenTelemetry is not imported for
    this; Prefect imports it, and so does whoever configures a provider.

    Args:
        name: Name of the span.
    """
    trace = sys.modules.get("opentelemetry.trace")
    # Another thread may be importing it.
    if trace is None or getattr(trace.__spec__, "_initializing", False):
        return nullcontext()
    context: AbstractContextManager[object] = trace.get_tracer(
        "chainrule"
    ).start_as_current_span(name)
    return context


@contextmanager
def span(name: str) -> Iterator[None]:
    """Record the block as a span, for OpenTelemetry as well.

    Args:
        name: What the block does, without line breaks.
    """
    depth = getattr(DEPTH, "open", 0)
    DEPTH.open = depth + 1
    began, start = time.time(), time.monotonic()
    try:
        with exported_span(name):
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
