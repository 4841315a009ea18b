"""Grouping of rows into sequences: one row for each value of a key column.

Rows are partitioned into temporary files by a hash of their key, and each file is then
grouped by itself, so that memory holds one at a time. The result is an ordinary
dataset: the key, and a column of lists of structs with all other columns.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables.list_cells import element_types
from tasks.config.data import DataConfig, SequenceConfig
from tasks.data.cells import to_cells
from tasks.data.columns.infer import LEAVE_OUT
from tasks.data.datasets import BadFile, Dataset, open_dataset
from tasks.data.fragments import read_fragment
from tasks.data.hashing import cell_hashes
from tasks.data.schema import check_columns
from tasks.data.training_data import with_struct_fields
from tasks.runtime import manifest, parquet, storage
from tasks.runtime.job import Job, JobResult

ROWS = "rows"
"""Name of the column that holds the rows of a sequence."""

BUCKET_ROWS = 1 << 20
"""Approximate number of rows that are grouped in memory at a time."""

FRAGMENT_ROWS = 1 << 17
"""Maximum number of rows that are partitioned at a time."""

Json = dict[str, Any]  # JSON-able values


def reject_sequences(data: DataConfig, how: str) -> None:
    """Raise if rows are grouped into sequences, which may span several partitions.

    Args:
        data: The configuration of the dataset.
        how: How it would be scored, for the message.

    Raises:
        ValueError: `data.sequence` is configured.
    """
    if data.sequence is not None:
        raise ValueError(
            f"data.sequence: the rows of a sequence may be in several partitions, so "
            f"they cannot be scored {how}; use chainrule score"
        )


@dataclass(frozen=True, kw_only=True)
class GroupResult(JobResult):
    """The outcome of grouping rows into sequences.

    Attributes:
        rows_in: Number of rows that were read.
        sequences: Number of sequences that were written.
        bad_files: Files that were set aside.
        rows_per_s: Rows per second of the call that did the work.
    """

    rows_in: int
    sequences: int
    bad_files: tuple[BadFile, ...]
    rows_per_s: float


def group(
    data: DataConfig, source: str, output: str, *, overwrite: bool = False
) -> GroupResult:
    """Group the rows of a dataset into sequences, as `data.sequence` says.

    Rows of equal key and equal place in the order keep the order of the files.

    Args:
        data: Key and order of sequences, and columns to leave out; its `path` is
            ignored.
        source: The dataset, as for `open_dataset`.
        output: Directory for the results; `{key}` stands for the job key.
        overwrite: Whether the output of another job may be replaced.

    Raises:
        ValueError: A column does not exist, or a row has a null as its key or place.
    """
    began = time.monotonic()
    sequence = data.sequence
    assert sequence is not None
    dataset = open_dataset(
        source,
        rows_per_fragment=FRAGMENT_ROWS,
        on_bad_file=data.on_bad_file,
        on_missing=data.on_missing,
    )
    names = _fields(data, dataset.schema)
    depends_on = {
        "dataset": dataset.fingerprint,
        "sequence": sequence.model_dump(mode="json"),
        "fields": names,
    }
    job = Job("group", output, depends_on, overwrite, began, dataset, ())

    def work() -> Json:
        files = list(_write_sequences(sequence, dataset, names, job.path))
        return {
            "inputs": {"dataset": dataset.fingerprint},
            "rows_in": dataset.rows,
            "sequences": sum(entry["rows"] for entry in files),
            "bad_files": [asdict(file) for file in dataset.bad_files],
            "files": files,
            "rows_per_s": job.rows_per_s(dataset.rows),
        }

    return job.run(work, GroupResult)


def grouped_data(data: DataConfig, path: str) -> DataConfig:
    """Return the configuration of the dataset that `group` wrote to `path`."""
    if data.sequence is None:
        return data
    columns = {f"{ROWS}.{name}": kind for name, kind in data.columns.items()}
    return data.model_copy(
        update={
            "path": path,
            "id": (data.sequence.key,),
            "exclude": (),
            "columns": {n: c for n, c in columns.items() if c.kind != LEAVE_OUT},
            "sequence": None,
        }
    )


def _fields(data: DataConfig, schema: pa.Schema) -> list[str]:
    """Return the names of the columns that the rows of a sequence hold.

    Raises:
        ValueError: A column does not exist, none is left, or one is nested.
    """
    assert data.sequence is not None
    key, *order = data.sequence.columns
    check_columns(
        schema,
        {
            "data.sequence.key": (key,),
            "data.sequence.order_by": order,
            "data.exclude": data.exclude,
            "data.columns": tuple(data.columns),
        },
    )
    if key == ROWS:
        raise ValueError(
            f"data.sequence.key: {ROWS!r} is the name of the column of sequences; "
            "rename the key column"
        )
    left_out = {n for n, c in data.columns.items() if c.kind == LEAVE_OUT}
    data = with_struct_fields(data, schema)
    gone = {key, *order, *data.exclude, *data.id, *left_out}
    names = [name for name in schema.names if name not in gone]
    types = pa.struct([schema.field(name) for name in names])
    if not names or element_types(pa.list_(types)) is None:
        raise ValueError(
            f"data.sequence: the columns {names!r} cannot be the rows of a sequence; "
            "exclude nested columns, and keep at least one other"
        )
    return names


def _write_sequences(
    sequence: SequenceConfig, dataset: Dataset, names: list[str], folder: str
) -> Iterator[dict[str, Any]]:
    """Write all sequences and yield the manifest entries of the files."""
    buckets = max(1, dataset.rows // BUCKET_ROWS)
    with tempfile.TemporaryDirectory() as temporary:
        _partition(sequence, dataset, names, Path(temporary), buckets)
        number = 0
        for path in sorted(Path(temporary).iterdir()):
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
                sequences = _nest(sequence, table, names)
            name = f"part-{number:05d}.parquet"
            with storage.publish(storage.join(folder, name)) as unfinished:
                parquet.write(unfinished, sequences)
            yield manifest.file_entry(folder, name, len(sequences))
            number += 1


def _partition(
    sequence: SequenceConfig,
    dataset: Dataset,
    names: list[str],
    folder: Path,
    buckets: int,
) -> None:
    """Write each row to the temporary file of its key's bucket."""
    wanted = [*sequence.columns, *names]
    with ExitStack() as stack:
        writers: dict[int, pa.RecordBatchFileWriter] = {}
        for fragment in dataset.fragments:
            table = read_fragment(fragment, wanted).select(wanted)
            for name in sequence.columns:
                if table[name].null_count:
                    raise ValueError(
                        f"{fragment.path}: column {name!r} contains nulls, so that "
                        "rows belong to no sequence or have no place in it; remove "
                        "these rows"
                    )
            for bucket, rows in _by_bucket(table, sequence.key, buckets):
                if bucket not in writers:
                    path = str(folder / f"{bucket:08d}.arrow")
                    new = pa.ipc.new_file(path, table.schema)
                    writers[bucket] = stack.enter_context(new)
                writers[bucket].write_table(rows)


def _by_bucket(
    table: pa.Table, key: str, buckets: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number and the rows of each bucket."""
    if buckets == 1:
        yield 0, table
        return
    type = table.schema.field(key).type
    bucket = cell_hashes(to_cells(table[key], type)) % np.uint64(buckets)
    for number in np.unique(bucket).tolist():
        yield number, table.filter(pa.array(bucket == number))


def _nest(sequence: SequenceConfig, table: pa.Table, names: list[str]) -> pa.Table:
    """Return one row for each key: the key, and the list of its rows."""
    key = sequence.key
    # The last key keeps rows of one place as they came: Arrow's sort is not stable.
    table = table.append_column("", pa.array(np.arange(len(table))))
    by = [*sequence.columns, ""]
    places = pc.sort_indices(table, [(name, "ascending") for name in by])
    table = table.take(places).combine_chunks()
    keys = table[key].combine_chunks()
    changed = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    starts = np.flatnonzero(np.r_[True, changed.to_numpy(zero_copy_only=False)])
    struct = table.select(names).to_struct_array().combine_chunks()
    ends = pa.array(np.r_[starts, len(table)], pa.int32())
    lists = pa.ListArray.from_arrays(ends, struct)
    return pa.table({key: keys.take(pa.array(starts)), ROWS: lists})
