"""Parts of a bulk job: numbered Parquet files with metadata in their footers."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from ar_models.tables import structs, text_formats
from tasks.runtime import manifest, parquet, storage

logger = logging.getLogger(__name__)

READERS = 8
"""Number of footers that are read concurrently."""

PartMetadata = dict[str, Any]
"""Metadata of a part, JSON-able.

`job_key`, `part` and `content` bind the part, see `bound`. `companions` maps the other
files of the part, such as its quarantine, to their numbers of rows. `files` are the
manifest's entries for the part and its companions; they are not in the footer.
"""


class WorkUnit(Protocol):
    """The input of one part, such as a fragment or a shard."""

    @property
    def index(self) -> int:
        """Number of the part."""

    @property
    def rows(self) -> int:
        """Number of rows to process."""

    @property
    def content(self) -> str:
        """Hash of the content that the part is made of; empty if it needs no input."""


def file_name(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:05d}.parquet"


def bound(unit: WorkUnit, key: str) -> PartMetadata:
    """Return the metadata that binds a part to its job, place and input.

    Args:
        unit: The input of the part.
        key: The job key.
    """
    return {"job_key": key, "part": unit.index, "content": unit.content}


def write(
    folder: str,
    file: str,
    table: pa.Table,
    metadata: PartMetadata,
    *,
    compression: str = "zstd",
) -> dict[str, Any]:
    """Publish a table with metadata in its footer; equal content gives equal bytes.

    Columns that were text in the training files are written as text, and those of the
    fields of a struct as the struct.

    Args:
        folder: Directory of the parts, local or S3.
        file: Path of the file within the directory.
        table: The rows.
        metadata: Metadata of the part.
        compression: Codec of the columns.

    Returns:
        The manifest's entry for the file.
    """
    table = structs.nest(text_formats.as_written(table))
    footer = {parquet.METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    with storage.publish(storage.join(folder, file)) as unfinished:
        digest = parquet.write_sealed(
            unfinished, table, footer, compression=compression
        )
        size = unfinished.stat().st_size
    return manifest.hashed_entry(file, table.num_rows, size, digest)


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


def finished(
    folder: str, key: str, units: Sequence[WorkUnit]
) -> dict[int, PartMetadata]:
    """Return the metadata of the parts that are complete, by number.

    A part is complete if its seal and those of its companions hold, and their footers
    name the job, the number of the unit and the content that it is read from.

    Args:
        folder: Directory of the parts.
        key: The job key.
        units: The units of the job.
    """
    sizes = storage.file_sizes(folder)
    candidates = [unit for unit in units if file_name(unit.index) in sizes]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(
            lambda unit: _read_finished(folder, unit, key, sizes), candidates
        )
        pairs = zip(candidates, found, strict=True)
        return {unit.index: part for unit, part in pairs if part}


def _read_finished(
    folder: str, unit: WorkUnit, key: str, sizes: Mapping[str, int]
) -> PartMetadata | None:
    """Return the metadata of a part, or None if it has to be written again."""
    name, expected = file_name(unit.index), bound(unit, key)
    metadata = _read_bound(folder, name, expected, sizes)
    files = [name, *(metadata or {}).get("companions", ())]
    for companion in files[1:]:
        if _read_bound(folder, companion, expected, sizes) is None:
            return None
    entries = [_sealed_entry(folder, file, sizes) for file in files if metadata]
    if metadata is None or None in entries:
        return None
    return {**metadata, "files": entries}


def _read_bound(
    folder: str, file: str, expected: PartMetadata, sizes: Mapping[str, int]
) -> PartMetadata | None:
    """Return the metadata of a file that is bound as expected, else None."""
    footer = parquet.read_footer(storage.join(folder, file)) if file in sizes else None
    metadata = parquet.read_metadata(footer) if footer else None
    return metadata if metadata and expected.items() <= metadata.items() else None


def _sealed_entry(
    folder: str, file: str, sizes: Mapping[str, int]
) -> dict[str, Any] | None:
    """Return the manifest's entry for a sealed file, or None if it is damaged."""
    path = storage.join(folder, file)
    digest = parquet.sealed_checksum(path)
    footer = parquet.read_footer(path)
    if digest is None or footer is None:
        logger.warning("%s: is damaged, and is written again", path)
        return None
    return manifest.hashed_entry(file, footer.num_rows, sizes[file], digest)
