"""The text about a dry run."""

from flows.cli import planned
from flows.outcomes import DryRunOutcome
from tasks.runtime.dry_runs import JobPlan


def test_every_job_has_its_state_and_its_folder() -> None:
    jobs = (
        JobPlan("prepare", "p", "finished", files=2),
        JobPlan("score", "s", "unfinished", 3, rows=4000, parts=4, finished_parts=1),
    )
    text = planned.describe(DryRunOutcome(jobs=jobs, later=("report",)))
    assert text.splitlines() == [
        "[bold]prepare   [/] [green]finished[/], nothing to do",
        "           p",
        "[bold]score     [/] unfinished, goes on; reads 3 files; 1 of 4 parts are "
        "there, 3 to be written (4,000 rows in all)",
        "           s",
        "[bold]then      [/] report: after the jobs above",
        "a dry run: nothing was written, and no server was started",
    ]
