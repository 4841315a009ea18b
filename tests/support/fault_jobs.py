"""Small jobs that faults are injected into, and what they give undisturbed."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config.data import DataConfig
from tasks.config.embed import EmbedConfig
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.data import fragments
from tasks.data.prepare import prepare
from tasks.inference.embed import embed
from tasks.inference.impute import impute
from tasks.inference.sample import sample
from tasks.inference.source import Source
from tasks.runtime import manifest, receipts, storage
from tests.support.faults import once, rows_of, score_rows

MORE_ROWS = 200
"""Rows of the second file of the dataset."""

CHANGING = ("started", "finished", "seconds", "rows_per_s", "input", "sha256")
"""Entries of a manifest that differ from run to run."""


@dataclass(frozen=True)
class Workspace:
    """A folder with a dataset of two files, a model, and the output of a job.

    Attributes:
        folder: The folder.
        output: Folder of the results; may contain `{key}`.
    """

    folder: Path
    output: Path

    def keyed(self) -> "Workspace":
        """Return the workspace with an output that is named by the key of the job."""
        return replace(self, output=self.folder / "output" / "{key}")

    @property
    def source(self) -> Path:
        """Folder of the dataset."""
        return self.folder / "rows"

    @property
    def file(self) -> Path:
        """The file of the dataset that faults change."""
        return self.source / "rows.parquet"

    @property
    def model(self) -> Path:
        """Folder of the model."""
        return self.folder / "model"


def make_workspace(folder: Path, model: str) -> Workspace:
    """Write a dataset with checksums of its pages, and a copy of a model."""
    space = Workspace(folder, folder / "output")
    space.source.mkdir(parents=True)
    options = {"row_group_size": 100, "write_page_checksum": True}
    pq.write_table(rows_of(seed=7), space.file, **options)
    more = rows_of(seed=9, rows=MORE_ROWS)
    pq.write_table(more, space.source / "more.parquet", **options)
    shutil.copytree(model, space.model)
    return space


def run_score(space: Workspace) -> None:
    score_rows(str(space.model), space.source, space.output, budget=20)


def run_prepare(space: Workspace) -> None:
    data = DataConfig(path=str(space.source), id=("id",))
    prepare(data, str(space.output), Resources())


def run_sample(space: Workspace) -> None:
    config = SampleConfig(rows=300, rows_per_shard=100)
    sample(str(space.model), str(space.output), config, Resources())


def run_embed(space: Workspace) -> None:
    source = Source(str(space.source), ("id",))
    config = EmbedConfig(rows_per_fragment=200)
    embed(str(space.model), source, str(space.output), config, Resources())


def run_impute(space: Workspace) -> None:
    config = ImputeConfig(rows_per_fragment=200)
    source, output = str(space.source), str(space.output)
    impute(str(space.model), source, output, config, Resources())


JOBS: dict[str, Callable[[Workspace], None]] = {
    "score": run_score,
    "prepare": run_prepare,
    "sample": run_sample,
    "embed": run_embed,
    "impute": run_impute,
}
"""Small jobs by name."""

READERS = tuple(name for name in JOBS if name != "sample")
"""Names of the jobs that read the dataset."""

MODEL_USERS = tuple(name for name in JOBS if name != "prepare")
"""Names of the jobs that read the model."""


def results_of(output: Path) -> dict[str, bytes | str]:
    """Return the files of a finished job by name.

    Without what was set aside, and without receipts, which only resuming needs.
    """
    left_out = {manifest.SET_ASIDE, receipts.FOLDER}
    found: dict[str, bytes | str] = {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and not left_out & set(path.parts)
    }
    content = json.loads(found.pop(manifest.MANIFEST))
    kept = {name: content[name] for name in content if name not in CHANGING}
    return {**found, manifest.MANIFEST: json.dumps(kept, sort_keys=True)}


@dataclass(frozen=True)
class Undisturbed:
    """Results of a job that nothing disturbs.

    Attributes:
        key: Key of the job.
        results: Its results.
        reads: Number of reads of fragments.
        writes: Number of flushes to the disk: two for each published file.
    """

    key: str
    results: dict[str, bytes | str]
    reads: int
    writes: int


def run_undisturbed(name: str, space: Workspace) -> Undisturbed:
    """Run a job and count its reads and writes."""
    reads: list[None] = []
    writes: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        for module, function, calls in (
            (fragments, "_iter_tables", reads),
            (storage, "_flush", writes),
        ):
            count = counter(getattr(module, function), calls)
            patch.setattr(module, function, count)
        JOBS[name](space)
    results = results_of(space.output)
    key = json.loads(results[manifest.MANIFEST])["job_key"]
    return Undisturbed(key, results, len(reads), len(writes))


def counter(
    function: Callable[..., object], calls: list[None]
) -> Callable[..., object]:
    """Return a function that adds to a list whenever it is called."""

    def call(*arguments: object) -> object:
        calls.append(None)
        return function(*arguments)

    return call


def rows_of_results(results: dict[str, bytes | str]) -> dict[str, list[Any]]:
    """Return the rows of all Parquet files of results, by name."""
    return {
        name: pq.read_table(pa.BufferReader(content)).to_pylist()
        for name, content in results.items()
        if name.endswith(".parquet")
    }


@contextmanager
def acting_at(
    module: object, name: str, number: int, action: Callable[[], None]
) -> Iterator[None]:
    """Let a function of a module act before one of its calls, counted from 0."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, once(action, getattr(module, name), number))
        yield
