"""A trial: a fault is injected into a job, which is then given again."""

import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from flows.cli import errors
from tests.support.fault_jobs import JOBS, Undisturbed, Workspace, results_of

LIMIT = 60.0
"""Seconds after which a job that does not end hangs."""

RIGHT = "right"
CLEAR = "clear error"
CORRUPTION = "silent corruption"
UNCLEAR = "unclear error"
HAND = "needs a hand"
HANG = "hang"
LEFT = "left processes"

VERDICTS = (RIGHT, CLEAR, CORRUPTION, UNCLEAR, HAND, HANG, LEFT)
"""Verdicts on a trial, from best to worst; the first two are as they should be."""

GOOD = (RIGHT, CLEAR)
"""Verdicts of trials that ended as they should."""


class HangError(BaseException):
    """A job did not end in time; not an `Exception`, so that no job handles it."""


@dataclass(frozen=True)
class Finding:
    """Verdict on a trial.

    Attributes:
        kind: Kind of the fault.
        verdict: One of `VERDICTS`.
        story: What happened, for the message of a failed trial.
    """

    kind: str
    verdict: str
    story: str = ""


@dataclass(kw_only=True)
class Judgement:
    """Findings of a trial so far.

    Attributes:
        story: What happened.
        verdicts: Verdicts on it.
        named: Text that each error message must contain.
    """

    story: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    named: str = ""

    def judge_message(self, message: str) -> None:
        """Judge the message of an error: it is one line that says what is wrong."""
        clear = (
            message.strip() != ""
            and "\n" not in message.strip()
            and not message.startswith("unexpected")
            and self.named in message
        )
        self.judge(CLEAR if clear else UNCLEAR, message)

    def judge(self, verdict: str, what: str) -> None:
        """Add a verdict, and what happened."""
        self.verdicts.append(verdict)
        self.story.append(f"{verdict}: {what}")

    def finding(self, kind: str) -> Finding:
        """Return the worst verdict."""
        worst = max(self.verdicts, key=VERDICTS.index, default=RIGHT)
        return Finding(kind, worst, "; ".join(self.story))


@dataclass
class Trial(Judgement):
    """A job that a fault is injected into.

    Attributes:
        job: Name of the job.
        space: Its dataset, model and output.
        undisturbed: What it does when nothing disturbs it.
        rng: Source of the details of the fault.
    """

    job: str
    space: Workspace
    undisturbed: Undisturbed
    rng: np.random.Generator

    @property
    def results(self) -> Path:
        """Folder of the results of the undisturbed job."""
        return Path(str(self.space.output).replace("{key}", self.undisturbed.key))

    def run(self) -> bool:
        """Run the job, judge how it ends, and return whether it finished."""
        return self.attempt(lambda: JOBS[self.job](self.space), self.check_results)

    def check_results(self) -> None:
        """Judge the results of the job, which has finished."""
        found, expected = results_of(self.results), self.undisturbed.results
        differing = sorted(
            name
            for name in {*found, *expected}
            if found.get(name) != expected.get(name)
        )
        if differing:
            self.judge(CORRUPTION, f"other content: {', '.join(differing)}")

    def attempt(
        self, work: Callable[[], object], check: Callable[[], None] = lambda: None
    ) -> bool:
        """Do some work, judge its error if it fails, and return whether it finished.

        Args:
            work: The work.
            check: Judges the results of finished work.
        """
        try:
            with time_limit(LIMIT):
                work()
        except KeyboardInterrupt:
            self.story.append("stopped")
            return False
        except HangError:
            self.judge(HANG, f"no end within {LIMIT:.0f} s")
            return False
        except Exception as error:
            self.judge_message(errors.describe(error))
            return False
        self.story.append("finished")
        check()
        return True

    def repeat(self) -> None:
        """Give the job again, now that nothing disturbs it: it must finish."""
        self.named = ""
        if not self.run():
            self.judge(HAND, "the same command does not finish")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `HangError` in the block if it takes longer."""

    def end(number: int, frame: FrameType | None) -> None:
        raise HangError

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def to_table(findings: Iterable[Finding]) -> str:
    """Return the numbers of verdicts by kind of fault, as a Markdown table."""
    kinds: dict[str, Counter[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, Counter())[finding.verdict] += 1
    total = sum(kinds.values(), Counter())
    lines = [
        f"| fault | injections | {' | '.join(VERDICTS)} |",
        "|---|---|" + "---|" * len(VERDICTS),
    ]
    for name, counts in [*sorted(kinds.items()), ("all", total)]:
        numbers = [counts.total(), *(counts[verdict] for verdict in VERDICTS)]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)
