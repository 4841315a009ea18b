"""Support of the tests of scoring: settings of the jobs, and readers of results."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference import score
from tasks.inference.score import ScoreResult
from tasks.inference.source import Source
from tasks.runtime import manifest, storage

CONFIG = ScoreConfig(rows_per_fragment=400)
"""Settings of the jobs; fragments of 400, 400 and 200 rows."""

ROWS = 1000
"""Rows of the dataset."""

Job = Callable[..., ScoreResult]
"""`score` with arguments of its own by default."""

IN_PROCESS = """
import sys
import time
import torch
from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference import backfill, score
from tasks.inference.source import Source
from tasks.runtime import cluster, parts, storage

torch.set_num_threads(1)  # as in actors: the last digits depend on it
cluster.connect = lambda resources: None
cluster.stream_actors = lambda make, items, **_: map(make(), items)
"""
"""Start of programs that score in one process, without the minute that Ray may take to
start on a busy machine."""


def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start `IN_PROCESS` and further code in a child process."""
    command = [sys.executable, "-c", IN_PROCESS + code, *map(str, arguments)]
    return subprocess.Popen(command)


def kill_when(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Kill a process as soon as a condition holds."""
    deadline = time.monotonic() + 300
    try:
        while not condition():
            assert process.poll() is None, "the process has ended"
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait(timeout=30)


def read_manifest(output: str | Path) -> dict[str, Any]:
    """Return the manifest of a job, without what differs between equal runs."""
    found = storage.read_json(storage.join(str(output), manifest.MANIFEST))
    for name in ("started", "finished", "seconds", "rows_per_s", "input", "sha256"):
        del found[name]
    return dict(found)


def read_entries(output: str | Path) -> Any:
    """Return names, rows, sizes and checksums of all parts of a job."""
    return storage.read_json(storage.join(str(output), manifest.MANIFEST))["files"]


def pop_source(changes: dict[str, Any], path: Path) -> Source:
    """Take the arguments of a source from the changed arguments of a job.

    Args:
        changes: Changed arguments, from which those of the source are removed.
        path: Dataset to read unless there is another in `changes`.
    """
    return Source(
        str(changes.pop("source", path)),
        changes.pop("id_columns", ("id",)),
        changes.pop("on_bad_file", "stop"),
        copies_all=changes.pop("copies_all", False),
        adds_place=changes.pop("adds_place", False),
    )


def run_score(model: str, path: Path, output: Path, /, **changes: Any) -> ScoreResult:
    """Run `score` with some arguments changed."""
    arguments: dict[str, Any] = {
        "model": model,
        "source": pop_source(changes, path),
        "output": str(output),
        "config": CONFIG,
        "resources": Resources(),
        "model_info": {"name": "small", "version": 3, "run_id": "r1"},
    }
    return score.score(**{**arguments, **changes})


def read_rows(folder: str | Path) -> pa.Table:
    """Return all rows of the parts of a local job, in order."""
    paths = sorted(Path(folder).glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])
