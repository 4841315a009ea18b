"""Dry runs: finished jobs return their results, the others say what they would do."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime import dry_runs
from tasks.runtime.job import Job, JobResult


@dataclass(frozen=True, kw_only=True)
class CountResult(JobResult):
    """The outcome of a job that counts."""

    rows_out: int


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("count", str(tmp_path / "output"), {"data": "d1"})


def run(job: Job) -> CountResult:
    def work() -> dict[str, Any]:
        assert dry_runs.current() is None
        return {"rows_out": 3, "files": []}

    return job.run(work, CountResult)


def test_a_new_job_ends_a_dry_run_and_writes_nothing(tmp_path: Path, job: Job) -> None:
    with dry_runs.dry_run() as found:
        run(job)
        raise AssertionError("the dry run has gone on")
    assert [(plan.kind, plan.state) for plan in found.plans] == [("count", "new")]
    assert not list(tmp_path.iterdir())


def test_finished_jobs_return_their_results(job: Job) -> None:
    done = run(job)
    with dry_runs.dry_run() as found:
        again = run(replace(job, began=0.0))
        run(replace(job, output=f"{job.output}-other"))
    assert again == replace(done, done=True)
    assert [plan.state for plan in found.plans] == ["finished", "new"]


def test_what_a_job_would_replace_or_refuse_is_said(job: Job) -> None:
    run(job)
    other = replace(job, depends_on={"data": "d2"})
    with pytest.raises(FileExistsError, match="pass --overwrite"), dry_runs.dry_run():
        run(other)
    with dry_runs.dry_run() as found:
        run(replace(other, overwrite=True))
    assert [plan.state for plan in found.plans] == ["replaces another job"]
    assert run(job).done


def test_copies_lie_in_a_temporary_directory_during_a_dry_run() -> None:
    assert dry_runs.copies_root("storage") == "storage"
    with dry_runs.dry_run():
        copies = dry_runs.copies_root("storage")
        assert Path(copies).is_dir()
    assert not Path(copies).exists()
