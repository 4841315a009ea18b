"""Jobs: one key, one directory, done once and read back as the same typed result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from tasks.config.resources import Resources
from tasks.runtime import parts, storage
from tasks.runtime.job import Job, JobResult


@dataclass(frozen=True)
class Largest:
    """A nested part of a result."""

    value: int


@dataclass(frozen=True, kw_only=True)
class CountResult(JobResult):
    """The outcome of a job that counts."""

    rows_out: int
    largest: Largest
    note: str

    @classmethod
    def derived_fields(cls, path: str, content: dict[str, Any]) -> Mapping[str, Any]:
        return {"note": storage.read_json(storage.join(path, "note.json"))}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("count", f"{tmp_path}/{{key}}", {"data": "d1", "upto": 3})


def run(job: Job, *, calls: list[str] | None = None, **content: Any) -> CountResult:
    def work() -> dict[str, Any]:
        if calls is not None:
            calls.append(job.key)
        storage.write_json(storage.join(job.path, "note.json"), "three")
        return {"rows_out": 3, "largest": {"value": 2}, "files": [], **content}

    return job.run(work, CountResult)


def test_a_finished_job_returns_the_same_result_without_work(job: Job) -> None:
    calls: list[str] = []
    first = run(job, calls=calls)
    again = run(replace(job, began=0.0), calls=calls)
    assert not first.done and first.largest == Largest(2) and first.note == "three"
    assert again == replace(first, done=True)
    assert calls == [job.key]


def test_the_directory_is_named_by_all_that_the_result_depends_on(job: Job) -> None:
    assert job.path.endswith(f"/{job.key}")
    assert replace(job, overwrite=True, began=0.0).key == job.key
    assert replace(job, depends_on={"data": "d2", "upto": 3}).key != job.key
    assert replace(job, kind="sum").key != job.key


def test_a_job_that_failed_is_not_finished(job: Job) -> None:
    def fail() -> dict[str, Any]:
        raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows"):
        job.run(fail, CountResult)
    assert not run(job).done


def test_other_results_are_replaced_only_if_told(tmp_path: Path) -> None:
    one = Job("count", str(tmp_path / "out"), {"data": "d1"})
    two = replace(one, depends_on={"data": "d2"})
    run(one)
    with pytest.raises(FileExistsError, match="pass --overwrite"):
        run(two)
    assert not run(replace(two, overwrite=True)).done


def test_seconds_are_those_of_the_call_unless_the_work_says_otherwise(
    job: Job, tmp_path: Path
) -> None:
    assert 0 <= run(job).seconds < 60
    other = replace(job, output=f"{tmp_path}/other")
    assert run(other, seconds=7.5).seconds == 7.5


def test_only_missing_parts_are_written(ray: None, tmp_path: Path) -> None:
    table = pa.table({"x": [1.5, None, 2.5]})
    job = Job("copy", str(tmp_path), {"data": "d1"})

    def make() -> Callable[[SimpleNamespace], parts.PartMetadata]:
        def write(unit: SimpleNamespace) -> parts.PartMetadata:
            metadata = {**parts.bound(unit, job.key), "rows_out": unit.rows}
            name = parts.file_name(unit.index)
            entry = parts.write(f"{job.path}/rows", name, table, metadata)
            return {**metadata, "files": [entry]}

        return write

    units = [SimpleNamespace(index=i, rows=3, content="c1") for i in range(4)]
    complete = partial(
        job.complete_parts, make, units, Resources(), subdirectory="rows"
    )
    written = complete()
    assert written.new_rows == written.total("rows_out") == 12
    assert written.files("rows")[2]["path"] == "rows/part-00002.parquet"
    (tmp_path / "rows" / parts.file_name(2)).unlink()
    assert complete() == parts.CompletedParts(written.metadata, new_rows=3)
    assert complete() == parts.CompletedParts(written.metadata, new_rows=0)
