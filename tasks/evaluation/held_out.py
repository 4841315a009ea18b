"""The held-out test rows of a prepared dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.data.prepared import list_files
from tasks.runtime import parts, storage

READ_ROWS = 16_384
"""Number of test rows that are read at a time."""


@dataclass(frozen=True)
class HeldOutFile:
    """A Parquet file of test rows.

    Attributes:
        index: Position among the dataset's test files.
        path: Path of the file, local or S3.
        rows: Number of rows.
        content: Hash of the content.
    """

    index: int
    path: str
    rows: int
    content: str


def list_test_files(prepared: str, about: Mapping[str, Any]) -> list[HeldOutFile]:
    """List the files of test rows of a prepared dataset.

    Args:
        prepared: Directory of the dataset.
        about: Its manifest.

    Raises:
        ValueError: The dataset has no test rows.
    """
    files = list_files(about, "test/")
    if not files:
        raise ValueError(
            f"{prepared}: has no test rows to evaluate a model on; give "
            "data.split.test a larger share"
        )
    contents = {entry["path"]: entry["sha256"] for entry in about["files"]}
    return [
        HeldOutFile(k, storage.join(prepared, path), rows, contents[path])
        for k, (path, rows) in enumerate(files)
    ]


def read_batches(path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield columns of a Parquet file, `READ_ROWS` rows at a time."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        for batch in pq.ParquetFile(source).iter_batches(READ_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def read(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, local or S3, or some of its columns."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        return pq.read_table(source, columns=columns)


def read_schema(path: str) -> pa.Schema:
    """Read the schema of a Parquet file, local or S3."""
    filesystem, inner = storage.resolve(path)
    return pq.read_schema(inner, filesystem=filesystem)


def read_folder(folder: str, count: int | None = None) -> pa.Table:
    """Read the parts in a directory, local or S3, in order.

    Args:
        folder: The directory.
        count: Number of parts; if None, all files are read, as of a finished job.
    """
    files = (
        storage.list_files(folder)
        if count is None
        else [parts.file_name(index) for index in range(count)]
    )
    return pa.concat_tables([read(storage.join(folder, file)) for file in files])
