"""What the tests of scoring share: settings of the jobs, and readers of results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.score import ScoreConfig
from tasks.inference import score
from tasks.runtime import manifest, storage

CONFIG = ScoreConfig(rows_per_fragment=400)
"""Settings of the jobs; fragments of 400, 400 and 200 rows."""

ROWS = 1000
"""Rows of the dataset."""

Job = Callable[..., score.ScoreResult]
"""`score` with arguments of its own by default."""


def read_manifest(output: str | Path) -> dict[str, Any]:
    """Return the manifest of a job, without what differs between equal runs."""
    found = storage.read_json(storage.join(str(output), manifest.MANIFEST))
    for name in ("started", "finished", "seconds", "rows_per_s", "input"):
        del found[name]
    return dict(found)


def read_scored(folder: str | Path) -> pa.Table:
    """Return all scored rows of a local job."""
    paths = sorted(Path(folder).glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])
