"""Let one command at a time write an output, and clean up after a killed one."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from flows.process import reaper
from tasks.runtime import locks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HolderRecord:
    """The processes and flow runs of the last holder of a lock, from the lock file.

    Attributes:
        marker: Marker of its processes, empty if it ended in good order.
        flow_runs: Ids of its flow runs.
        finished: Digest of the command that it has finished, empty if it has not.
    """

    marker: str = ""
    flow_runs: tuple[str, ...] = ()
    finished: str = ""


def read_record(file: TextIO) -> HolderRecord:
    """Read the record in a lock file; one that cannot be read is discarded.

    The lock itself is held by the operating system, whatever the file contains.
    """
    text = file.read()
    try:
        content = json.loads(text or "{}")
        flow_runs = tuple(map(str, content.get("flow_runs", ())))
        return HolderRecord(
            str(content.get("marker") or ""),
            flow_runs,
            str(content.get("finished", "")),
        )
    except (ValueError, TypeError, AttributeError):
        logger.warning(
            "%s: its record of the last command is damaged, and is discarded", file.name
        )
        return HolderRecord()


class OutputLock:
    """The locked output of a command, with a record of the command in the lock file.

    The record names the marker of the holder's processes and its flow runs, so that the
    next holder can clean up after one that was killed.

    Attributes:
        dead_flow_runs: Ids of the flow runs that a killed holder left behind.
        finished: Digest of the command that the last holder, or this one, has finished.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.flow_runs: list[str] = []
        previous = read_record(file)
        if previous.marker:
            reaper.end_processes(previous.marker)
        self.dead_flow_runs = list(previous.flow_runs)
        self.finished = previous.finished
        # Until they are marked as crashed, a second crash must not lose them.
        self.record(*self.dead_flow_runs)

    def record(self, *flow_runs: str) -> None:
        """Write this process and its flow runs, and those given, to the lock file."""
        self.flow_runs += flow_runs
        content = {
            "pid": os.getpid(),
            "marker": os.environ.get(reaper.VARIABLE),
            "flow_runs": self.flow_runs,
        }
        self.write(json.dumps(content))

    def forget_dead(self) -> None:
        """Remove the dead flow runs from the record, once they are marked."""
        dead = self.dead_flow_runs
        self.flow_runs = [run for run in self.flow_runs if run not in dead]
        self.record()

    def clear(self) -> None:
        """Record only what was finished: the holder has ended in good order."""
        self.write(json.dumps({"finished": self.finished}))

    def write(self, text: str) -> None:
        """Replace the content of the lock file."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(text)
        self.file.flush()


@contextmanager
def hold_output(path: Path) -> Iterator[OutputLock]:
    """Hold the lock of an output while the block runs.

    Args:
        path: Lock file of the output.

    Raises:
        BlockingIOError: Another command holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = locks.acquire(path)
    except BlockingIOError as error:
        raise BlockingIOError(
            f"{path}: another chainrule command writes the same output; wait for it to "
            "end, or choose another name or --output"
        ) from error
    # Opened by the descriptor that holds the lock, under the name for messages.
    with open(
        path, "r+", encoding="utf-8", errors="replace", opener=lambda *_: descriptor
    ) as file:
        lock = OutputLock(file)
        yield lock
        lock.clear()


@contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Hold the lock in a file while the block runs, as soon as it is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = locks.acquire(path, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)
