"""Small datasets for tests of preparation, and what is read of the results."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tasks.data.prepare import PrepareResult
from tasks.runtime import manifest, storage


def example_table(rows: int, seed: int = 0) -> pa.Table:
    """Return a table with a column of each common kind."""
    rng = np.random.default_rng(seed)
    amount = np.where(rng.random(rows) < 0.4, 0.0, rng.gamma(2, 50, rows).round(2))
    return pa.table(
        {
            "key": [f"{seed}-{i}" for i in range(rows)],
            "city": rng.choice(["Oslo", "Rome", "Kyiv"], rows).tolist(),
            "age": pa.array(rng.integers(18, 90, rows), mask=rng.random(rows) < 0.1),
            "amount": amount,
            "member": rng.random(rows) < 0.3,
            "day": pa.array(rng.integers(18000, 18300, rows), pa.int32()).cast(
                pa.date32()
            ),
            "unit": ["EUR"] * rows,
        }
    )


def write_files(folder: Path, table: pa.Table, files: int) -> Path:
    """Write a table in order to several files and return their directory."""
    folder.mkdir(parents=True)
    size = math.ceil(table.num_rows / files)
    for place in range(files):
        pq.write_table(table.slice(place * size, size), folder / f"{place}.parquet")
    return folder


def run_prepare(
    source: Path | str, output: Path | str, **settings: Any
) -> PrepareResult:
    """Prepare a dataset; the settings are keys of the section `data`."""
    data = DataConfig.model_validate({"path": str(source), **settings})
    return prepare.prepare(data, str(output), Resources())


def read_split(prepared: Path | str, split: str) -> pa.Table:
    """Read the raw rows of a split."""
    files = storage.list_files(storage.join(str(prepared), split))
    return pa.concat_tables(
        [pq.read_table(storage.join(str(prepared), split, f)) for f in files]
    )


def read_encoded(prepared: Path, split: str) -> np.ndarray:
    """Read the encoded rows of a split, (n, dim)."""
    parts = []
    for path in sorted((prepared / "encoded" / split).iterdir()):
        with pa.memory_map(str(path)) as source:
            column = pa.ipc.open_file(source).read_all().column("x").combine_chunks()
            values = column.flatten().to_numpy()
            parts.append(values.reshape(len(column), -1).copy())
    return np.concatenate(parts)


def content(prepared: Path) -> dict[str, bytes]:
    """Return all files of a prepared dataset, without the times in the manifest."""
    found = {
        str(p.relative_to(prepared)): p.read_bytes()
        for p in prepared.rglob("*")
        if p.is_file()
    }
    known = json.loads(found.pop(manifest.MANIFEST))
    for key in ("started", "finished", "seconds", "rows_per_s", "sha256"):
        known.pop(key)
    return {**found, "manifest": json.dumps(known).encode()}
