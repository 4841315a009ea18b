"""A job: one result directory, named by a key, written once and read back afterwards.

A job claims its directory, writes its results there (bulk jobs part by part), and
writes the manifest last. The same call made again finishes a job that was stopped, and
returns the same result without work where the job is finished.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

from pydantic import TypeAdapter

from tasks.config.resources import Resources
from tasks.runtime import actors, cluster, dry_runs, manifest, parts, storage

CHECKERS = 8
"""Number of inputs that are checked concurrently."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The outcome of a job, read back from its manifest.

    A subclass adds the fields of one kind of job. Each is the entry of that name in the
    manifest, unless the subclass computes it in `derived_fields`; nested dataclasses
    are made of nested dicts.

    Attributes:
        path: Directory of the results.
        key: The job key, 16 hexadecimal digits.
        done: Whether an earlier call had finished the job, so that this did no work.
        seconds: Wall-clock time of the call that finished the job.
    """

    path: str
    key: str
    done: bool
    seconds: float

    @classmethod
    def from_manifest(cls, path: str, content: Json, *, done: bool) -> Self:
        """Return the result that a manifest describes.

        Args:
            path: Directory of the results.
            content: The manifest.
            done: Whether an earlier call had finished the job.
        """
        known = {"path": path, "key": content["job_key"], "done": done}
        values = {**content, **known, **cls.derived_fields(path, content)}
        return TypeAdapter(cls).validate_python(values)

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        """Return the fields that are not entries of the manifest under their own name.

        Args:
            path: Directory of the results.
            content: The manifest.
        """
        return {}


class Input(Protocol):
    """A file that a job reads, as it was when the job opened it."""

    def check(self) -> None:
        """Raise ValueError if the file has changed since."""


class InputDataset(Protocol):
    """A dataset that a job reads."""

    @property
    def sources(self) -> Sequence[Input]:
        """Files of the dataset, each of which must stay as it is."""

    @property
    def fragments(self) -> Sequence[parts.WorkUnit]:
        """Fragments of the dataset, each of which becomes a part of the results."""


Result = TypeVar("Result", bound=JobResult)
Unit = TypeVar("Unit", bound=parts.WorkUnit)


@dataclass(frozen=True)
class Job:
    """A task that fills one directory with results.

    Attributes:
        kind: What the job does, such as "score"; enters the key and progress reports.
        output: Directory for the results, local or S3; `{key}` stands for the job key.
        depends_on: Everything that the results depend on, JSON-able; enters the key.
        overwrite: Whether the results of another job may be replaced.
        began: `time.monotonic()` at the start of the call; defaults to now.
        dataset: The dataset that is read, if there is one.
        part_folders: Directories, within the results, in which a part is found that
            need not be computed again; none if the job does not work in parts.
        units: What the parts of the results are made of, if not of the fragments of
            the dataset.
    """

    kind: str
    output: str
    depends_on: Mapping[str, Any]
    overwrite: bool = False
    began: float = field(default_factory=time.monotonic)
    dataset: InputDataset | None = field(default=None, repr=False)
    part_folders: Sequence[str] = ("",)
    units: Sequence[parts.WorkUnit] = field(default=(), repr=False)

    @cached_property
    def key(self) -> str:
        """The job key, 16 hexadecimal digits."""
        return manifest.job_key(job=self.kind, **self.depends_on)

    @property
    def inputs(self) -> Sequence[Input]:
        """The files that are read."""
        return self.dataset.sources if self.dataset else ()

    @property
    def work_units(self) -> Sequence[parts.WorkUnit]:
        """Units of work, one for each part of the results; empty without parts."""
        if self.units or self.dataset is None:
            return self.units
        return self.dataset.fragments if self.part_folders else ()

    @property
    def path(self) -> str:
        """Directory of the results."""
        return self.output.replace("{key}", self.key)

    def run(self, work: Callable[[], Json], result: type[Result]) -> Result:
        """Return the finished job's result, or do the work first.

        Args:
            work: Writes the results to `path` and returns the content of the manifest:
                input, model, config, rows_in, rows_out, files and so on. `seconds` is
                added unless it is there.
            result: Type of the result.

        Raises:
            FileExistsError: The directory holds other results and `overwrite` is false,
                or another process is writing to it.
            ValueError: An input changed while the job ran; no manifest is written.
            DryRunEnd: This is a dry run, and the job is not finished.
        """
        if run := dry_runs.current():
            return self.rehearse(run, result)
        content = manifest.claim(self.path, self.key, overwrite=self.overwrite)
        done = content is not None
        if content is None:
            found = work()
            with ThreadPoolExecutor(CHECKERS) as pool:
                list(pool.map(lambda file: file.check(), self.inputs))
            content = manifest.finish(
                self.path, self.key, **{"seconds": round(self.elapsed, 3), **found}
            )
        return result.from_manifest(self.path, content, done=done)

    def rehearse(self, run: dry_runs.DryRun, result: type[Result]) -> Result:
        """Return the finished job's result, or say what it would do.

        Args:
            run: The dry run.
            result: Type of the result.

        Raises:
            DryRunEnd: The job is not finished.
            FileExistsError: As for `run`.
        """
        state, content = manifest.inspect(self.path, self.key, overwrite=self.overwrite)
        there = self.finished_units() if state == "unfinished" else set()
        units = self.work_units
        plan = dry_runs.JobPlan(
            self.kind,
            self.path,
            state,
            files=len(self.inputs),
            rows=sum(unit.rows for unit in units),
            parts=len(units),
            finished_parts=len(units) if content else len(there),
        )
        run.plans.append(plan)
        if content is None:
            raise dry_runs.DryRunEnd
        return result.from_manifest(self.path, content, done=True)

    def finished_units(self) -> set[int]:
        """Return the numbers of the units that need not be read or computed again."""
        found = (
            parts.finished(self.folder(name), self.key, self.work_units)
            for name in self.part_folders
        )
        return {index for each in found for index in each}

    def folder(self, name: str) -> str:
        """Return a directory within the results; that of the results without name."""
        return storage.join(self.path, name) if name else self.path

    def complete_parts(
        self,
        make_writer: Callable[[], Callable[[Unit], parts.PartMetadata]],
        units: Sequence[Unit],
        resources: Resources,
        *,
        subdirectory: str = "",
        label: str | None = None,
        pool: actors.ActorPool | None = None,
    ) -> parts.CompletedParts:
        """Write the parts that are missing from the results, in parallel.

        Args:
            make_writer: Called once in every Ray actor; returns the function that
                writes the part of a unit and returns the part's metadata.
            units: All units of the job, such as fragments of a dataset.
            resources: Where the job runs.
            subdirectory: Directory of the parts within the results.
            label: What progress reports call the units' rows; "KIND: rows" if None.
            pool: The actors to use; new ones if None.
        """
        folder = self.folder(subdirectory)
        found = parts.finished(folder, self.key, units)
        missing = [unit for unit in units if unit.index not in found]
        rows = sum(unit.rows for unit in missing)
        if missing:
            cluster.connect(resources)
            written = cluster.stream_actors(
                make_writer,
                missing,
                what=label or f"{self.kind}: rows",
                units=lambda unit: unit.rows,
                done=sum(unit.rows for unit in units) - rows,
                gpus=resources.gpus_per_process,
                pool=pool,
            )
            for unit, metadata in zip(missing, written, strict=True):
                assert parts.bound(unit, self.key).items() <= metadata.items()
                found[unit.index] = metadata
        return parts.CompletedParts([found[unit.index] for unit in units], rows)

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.began

    def rows_per_s(self, rows: int) -> float:
        """Return the throughput so far, for `rows` rows that this call processed."""
        return round(rows / self.elapsed, 1)
