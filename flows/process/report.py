"""The report of a supervised command, which tells more than its exit code.

The command says where its log is, and that it has ended by itself. If it does not say
so, something else has ended it: the kernel, or Ray, which ends a process without a word
when one of Ray's own processes is gone.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.runtime.spans import Span

VARIABLE = "CHAINRULE_REPORT"
"""Environment variable of a supervised command: the file descriptor to report to, and
the process id of the supervisor, since the command's own children inherit it too."""

ENDED = "ended"
LOG = "log "
SPAN = "span "

MAX_SPANS = 200
"""Maximum number of reported spans; the pipe holds 64 KiB, and is read at the end."""


@dataclass(frozen=True)
class Report:
    """The end and the log file of a supervised command, as it reported them.

    Attributes:
        ended: Whether it ended by itself, with a message if it failed.
        log: Its log file, if it had opened one.
        spans: Phases of the command.
    """

    ended: bool
    log: Path | None
    spans: tuple[Span, ...] = ()


def tell_log(path: Path) -> None:
    """Tell the supervisor, if there is one, where the log of this command is."""
    _tell(f"{LOG}{path}")


def tell_end() -> None:
    """Tell the supervisor, if there is one, that this command ends by itself."""
    _tell(ENDED)


def tell_spans(spans: Sequence[Span]) -> None:
    """Tell the supervisor, if there is one, the phases of this command."""
    for span in spans[-MAX_SPANS:]:
        _tell(SPAN + json.dumps(asdict(span)))


def _tell(line: str) -> None:
    descriptor, _, supervisor = os.environ.get(VARIABLE, "").partition(" ")
    if supervisor == str(os.getppid()):
        # A supervisor that is killed right now needs no report.
        with suppress(BrokenPipeError):
            os.write(int(descriptor), f"{line}\n".encode())


def address(descriptor: int) -> str:
    """Return the value of `VARIABLE` for a child of this process.

    Args:
        descriptor: The writing end of the pipe, which the child inherits.
    """
    return f"{descriptor} {os.getpid()}"


def read(descriptor: int) -> Report:
    """Read what a command that has ended has told; nobody is waited for.

    Args:
        descriptor: The reading end of the pipe.
    """
    os.set_blocking(descriptor, False)
    try:
        lines = os.read(descriptor, 1 << 16).decode(errors="replace").splitlines()
    except BlockingIOError:
        lines = []
    logs = [line.removeprefix(LOG) for line in lines if line.startswith(LOG)]
    spans = (line.removeprefix(SPAN) for line in lines if line.startswith(SPAN))
    return Report(
        ENDED in lines,
        Path(logs[-1]) if logs else None,
        tuple(Span(**json.loads(span)) for span in spans),
    )
