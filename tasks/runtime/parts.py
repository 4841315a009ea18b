"""Parts of a bulk job: numbered Parquet files with metadata in their footers."""

import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.runtime import manifest, storage

METADATA_KEY = b"chainrule"
"""Key of the footer's metadata that holds the part's metadata as JSON."""

READERS = 8
"""Number of footers that are read concurrently."""

PartMetadata = dict[str, Any]
"""Metadata of a part, JSON-able.

`job_key` is the key of the job. `companions` maps the other files of the part, such as
its quarantine, to their numbers of rows. `files` are the manifest's entries for the
part and its companions; they are not in the footer.
"""


class WorkUnit(Protocol):
    """The input of one part, such as a fragment or a shard."""

    @property
    def index(self) -> int:
        """Number of the part."""

    @property
    def rows(self) -> int:
        """Number of rows to process."""


def file_name(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:05d}.parquet"


def write(
    folder: str,
    file: str,
    table: pa.Table,
    metadata: PartMetadata,
    *,
    compression: str = "zstd",
) -> dict[str, Any]:
    """Publish a table with metadata in its footer; equal content gives equal bytes.

    Args:
        folder: Directory of the parts, local or S3.
        file: Path of the file within the directory.
        table: The rows.
        metadata: Metadata of the part.
        compression: Codec of the columns.

    Returns:
        The manifest's entry for the file.
    """
    table = table.replace_schema_metadata(
        {METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    )
    with storage.publish(storage.join(folder, file)) as unfinished:
        pq.write_table(
            table,
            unfinished,
            row_group_size=max(1, table.num_rows),
            compression=compression,
        )
        return manifest.entry(str(unfinished), file, table.num_rows)


@dataclass(frozen=True)
class CompletedParts:
    """All parts of a job, in order.

    Attributes:
        metadata: Metadata of each part.
        new_rows: Rows of the parts that were written now, not found.
    """

    metadata: list[PartMetadata]
    new_rows: int

    def total(self, name: str) -> int:
        """Return the sum of one entry of the metadata over all parts."""
        return sum(part[name] for part in self.metadata)

    def counts(self, name: str) -> dict[str, int]:
        """Return the sums of the counts in one entry of the metadata, by key."""
        return dict(sum((Counter(part[name]) for part in self.metadata), Counter()))

    def files(self, subdirectory: str = "") -> list[dict[str, Any]]:
        """Return the manifest's entries for the files of all parts.

        Args:
            subdirectory: Directory of the parts within the results.
        """
        prefix = f"{subdirectory}/" if subdirectory else ""
        return [
            {**entry, "path": prefix + entry["path"]}
            for part in self.metadata
            for entry in part["files"]
        ]


def finished(folder: str, key: str, indices: Iterable[int]) -> dict[int, PartMetadata]:
    """Return the metadata of the parts that are complete, by number.

    A part is complete if its footer can be read, names the job, and its companions
    exist.

    Args:
        folder: Directory of the parts.
        key: The job key.
        indices: Numbers of the parts of the job.
    """
    existing = set(storage.file_sizes(folder))
    candidates = [index for index in indices if file_name(index) in existing]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(
            lambda index: _read_finished(folder, index, key, existing), candidates
        )
        return {i: part for i, part in zip(candidates, found, strict=True) if part}


def _read_finished(
    folder: str, index: int, key: str, existing: set[str]
) -> PartMetadata | None:
    footer = read_footer(storage.join(folder, file_name(index)))
    metadata = read_metadata(footer) if footer else None
    if footer is None or metadata is None or metadata["job_key"] != key:
        return None
    companions: dict[str, int] = metadata.get("companions", {})
    if not existing.issuperset(companions):
        return None
    rows = {file_name(index): footer.num_rows, **companions}
    files = [manifest.file_entry(folder, file, count) for file, count in rows.items()]
    return {**metadata, "files": files}


def read_footer(path: str) -> pq.FileMetaData | None:
    """Return the footer of a Parquet file, or None if it is damaged."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            return pq.read_metadata(file)
    except pa.ArrowInvalid:
        return None


def read_metadata(footer: pq.FileMetaData) -> PartMetadata | None:
    """Return the part's metadata in a footer, or None if there is none."""
    content = (footer.metadata or {}).get(METADATA_KEY)
    metadata: PartMetadata | None = json.loads(content) if content else None
    return metadata
