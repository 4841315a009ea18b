"""Rows that a key makes one sequence of, gathered into one row per sequence.

The rows of a dataset are dealt out to temporary files by a hash of their key, and each
file is then gathered by itself; so memory holds one at a time. What comes out is
an ordinary dataset: the key, and a column of lists of structs with all the rest.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ar_models.lists import element_types
from tasks import datasets, manifest, profile, splits, storage
from tasks.config import DataConfig
from tasks.datasets import Dataset, check_columns

ROWS = "rows"
"""The column that holds the rows of a sequence."""

BUCKET_ROWS = 1 << 20
"""Rows of a bucket, about."""

FRAGMENT_ROWS = 1 << 17
"""Rows that are dealt out at a time."""


def refuse(data: DataConfig, how: str) -> None:
    """Raises ValueError where a dataset is of sequences, which may lie anywhere in it.

    Args:
        data: The dataset.
        how: What is to be done with it.
    """
    if data.sequence is not None:
        raise ValueError(
            f"data.sequence: rows of one sequence may stand in several partitions, so "
            f"they cannot be scored {how}; use chainrule score"
        )


def group(
    data: DataConfig, source: str, output: str, *, overwrite: bool = False
) -> dict[str, Any]:  # JSON-able
    """Gathers the rows of each sequence of a dataset, if `data.sequence` asks for it.

    Rows of equal key and equal place in the order stay as they come.

    Args:
        data: What is a key, and which columns to leave; its `path` is not looked at.
        source: The dataset, as for `datasets.open_dataset`.
        output: Folder to write; `{key}` in it stands for the job key.
        overwrite: Whether a folder with another job's output is replaced.

    Returns:
        path: the folder, or `source` itself where there is nothing to gather; and then
        rows, sequences, bad_files, done, seconds, rows_per_s.

    Raises:
        ValueError: There is no such column, or a row has no key or place.
    """
    started = time.monotonic()
    if data.sequence is None:
        return {"path": source}
    dataset = datasets.open_dataset(
        source, rows_per_fragment=FRAGMENT_ROWS, on_bad_file=data.on_bad_file
    )
    names = fields(data, dataset.schema)
    key = manifest.job_key(
        task="group",
        dataset=dataset.fingerprint,
        sequence=data.sequence.model_dump(mode="json"),
        fields=names,
    )
    folder = output.replace("{key}", key)
    finished = manifest.claim(folder, key, overwrite=overwrite)
    done = finished is not None
    if finished is None:
        files = list(gather(data, dataset, names, folder))
        finished = manifest.finish(
            folder,
            key,
            inputs={"dataset": dataset.fingerprint},
            rows_in=dataset.rows,
            sequences=sum(entry["rows"] for entry in files),
            bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
            files=files,
        )
    seconds = time.monotonic() - started
    return {
        "path": folder,
        "rows": finished["rows_in"],
        "sequences": finished["sequences"],
        "bad_files": finished["bad_files"],
        "done": done,
        "seconds": round(seconds, 3),
        "rows_per_s": round(finished["rows_in"] / seconds, 1),
    }


def of_groups(data: DataConfig, path: str) -> DataConfig:
    """The configuration of the dataset that `group` wrote to `path`."""
    if data.sequence is None:
        return data
    columns = {f"{ROWS}.{name}": kind for name, kind in data.columns.items()}
    return data.model_copy(
        update={
            "path": path,
            "id": (data.sequence.key,),
            "exclude": (),
            "columns": {n: c for n, c in columns.items() if c.kind != "leave_out"},
            "sequence": None,
        }
    )


def fields(data: DataConfig, schema: pa.Schema) -> list[str]:
    """The columns whose values a sequence holds.

    Raises:
        ValueError: A column is not there, or none is left, or one is nested.
    """
    assert data.sequence is not None
    key, order = data.sequence.key, data.sequence.order
    check_columns(
        schema,
        {
            "data.sequence.key": (key,),
            "data.sequence.order": (order,) if order else (),
            "data.exclude": data.exclude,
            "data.columns": tuple(data.columns),
        },
    )
    if key == ROWS:
        raise ValueError(
            f"data.sequence.key: {ROWS!r} is what the column of sequences is called; "
            "rename the key"
        )
    left_out = {n for n, c in data.columns.items() if c.kind == "leave_out"}
    gone = {key, order, *data.exclude, *data.id, *left_out}
    names = [name for name in schema.names if name not in gone]
    types = pa.struct([schema.field(name) for name in names])
    if not names or element_types(pa.list_(types)) is None:
        raise ValueError(
            f"data.sequence: the columns {names!r} cannot be the rows of a sequence; "
            "they must be plain ones, so exclude all others"
        )
    return names


def gather(
    data: DataConfig, dataset: Dataset, names: list[str], folder: str
) -> Iterator[dict[str, Any]]:
    """Writes the sequences; the manifest's entries of the files."""
    buckets = max(1, dataset.rows // BUCKET_ROWS)
    with tempfile.TemporaryDirectory() as temporary:
        deal(data, dataset, names, Path(temporary), buckets)
        number = 0
        for path in sorted(Path(temporary).iterdir()):
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
                sequences = nest(data, table, names)
            name = f"part-{number:05d}.parquet"
            with storage.publish(storage.join(folder, name)) as unfinished:
                pq.write_table(sequences, unfinished, compression="zstd")
            yield manifest.describe(folder, name, len(sequences))
            number += 1


def deal(
    data: DataConfig, dataset: Dataset, names: list[str], folder: Path, buckets: int
) -> None:
    """Writes each row to the file of its key's bucket."""
    assert data.sequence is not None
    key, order = data.sequence.key, data.sequence.order
    wanted = [key, *([order] if order else []), *names]
    with ExitStack() as stack:
        writers: dict[int, pa.RecordBatchFileWriter] = {}
        for fragment in dataset.fragments:
            table = datasets.read(fragment, wanted).select(wanted)
            for name in wanted[: 2 if order else 1]:
                if table[name].null_count:
                    raise ValueError(
                        f"{fragment.path}: column {name!r} holds nulls, so it is "
                        "unknown which sequence, or where in it, a row belongs to; "
                        "leave out such rows"
                    )
            for bucket, rows in _by_bucket(table, key, buckets):
                if bucket not in writers:
                    path = str(folder / f"{bucket:08d}.arrow")
                    new = pa.ipc.new_file(path, table.schema)
                    writers[bucket] = stack.enter_context(new)
                writers[bucket].write_table(rows)


def _by_bucket(
    table: pa.Table, key: str, buckets: int
) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each bucket."""
    if buckets == 1:
        yield 0, table
        return
    type = table.schema.field(key).type
    cell = profile.cells_of(table[key], type, profile.base_of(type, None))
    bucket = splits.cell_hashes(cell) % np.uint64(buckets)
    for number in np.unique(bucket).tolist():
        yield number, table.filter(pa.array(bucket == number))


def nest(data: DataConfig, table: pa.Table, names: list[str]) -> pa.Table:
    """One row for each key: the key, and the list of its rows."""
    assert data.sequence is not None
    key, order = data.sequence.key, data.sequence.order
    # The last key keeps rows of one place as they came: Arrow's sort is not stable.
    table = table.append_column("", pa.array(np.arange(len(table))))
    by = [key, *([order] if order else []), ""]
    places = pc.sort_indices(table, [(name, "ascending") for name in by])
    table = table.take(places).combine_chunks()
    keys = table[key].combine_chunks()
    changed = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    starts = np.flatnonzero(np.r_[True, changed.to_numpy(zero_copy_only=False)])
    struct = table.select(names).to_struct_array().combine_chunks()
    ends = pa.array(np.r_[starts, len(table)], pa.int32())
    lists = pa.ListArray.from_arrays(ends, struct)
    return pa.table({key: keys.take(pa.array(starts)), ROWS: lists})
