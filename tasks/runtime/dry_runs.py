"""Dry runs: jobs say what they would do, and do nothing.

While `dry_run` is open, a job that is finished returns its result, as it always does,
and one that is not ends the run. So a chain of jobs goes as far as its results exist.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

State = Literal["finished", "unfinished", "new", "replaces another job"]
"""State of the directory of a job before the job runs."""


@dataclass(frozen=True)
class JobPlan:
    """Plan of a job: the files that it would read and the parts that it would write.

    Attributes:
        kind: What the job does, such as "score".
        path: Directory of its results.
        state: What is in the directory. A finished job would do nothing.
        files: Number of files of the dataset that it reads; 0 if it reads none.
        rows: Rows that it reads or draws; 0 if it does not work in parts.
        parts: Number of parts that it writes; 0 if it does not work in parts.
        finished_parts: Number of parts that are there and would be kept.
    """

    kind: str
    path: str
    state: State
    files: int = 0
    rows: int = 0
    parts: int = 0
    finished_parts: int = 0


class DryRunEnd(Exception):  # noqa: N818  # It is no error.
    """A dry run has reached what it would have to do before it could go on."""


@dataclass
class DryRun:
    """A dry run that is open.

    Attributes:
        scratch: Temporary directory, for copies of models.
        plans: What the jobs so far would do.
    """

    scratch: str
    plans: list[JobPlan] = field(default_factory=list)


_open: ContextVar[DryRun | None] = ContextVar("dry_run", default=None)


def current() -> DryRun | None:
    """Return the dry run that is open, if there is one."""
    return _open.get()


def copies_root(storage: str) -> str:
    """Return the root for copies of models: temporary in a dry run, else the storage.

    Args:
        storage: Root of all results.
    """
    run = current()
    return storage if run is None else run.scratch


@contextmanager
def dry_run() -> Iterator[DryRun]:
    """Let jobs in the block only say what they would do, up to an unfinished one."""
    with tempfile.TemporaryDirectory() as scratch:
        run = DryRun(scratch)
        token = _open.set(run)
        try:
            yield run
        except DryRunEnd:
            pass
        finally:
            _open.reset(token)
