"""Numbered Parquet files of a bulk job, each with the facts about it in its footer."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.resources import Resources
from tasks.runtime import cluster, manifest, storage

METADATA_KEY = b"chainrule"
"""Key of the footer's metadata under which the facts stand as JSON."""

READERS = 8
"""Parts that are looked at together."""

PartMetadata = dict[str, Any]
"""What is known about a part, JSON-able, with the `job_key`. `files` are the entries
of the manifest for the part and for what belongs to it; they are not in the footer."""


class WorkUnit(Protocol):
    """A fragment or a shard: what becomes one part."""

    @property
    def index(self) -> int:
        """The number of the part."""

    @property
    def rows(self) -> int:
        """How much work it is."""


Unit = TypeVar("Unit", bound=WorkUnit)


def file_name(index: int) -> str:
    """The file name of part number `index`."""
    return f"part-{index:05d}.parquet"


def write(
    folder: str,
    file: str,
    table: pa.Table,
    facts: PartMetadata,
    *,
    compression: str = "zstd",
) -> dict[str, Any]:
    """Publishes `table` as `file` in `folder`; returns its entry of the manifest.

    Equal tables and facts give equal bytes.
    """
    table = table.replace_schema_metadata(
        {METADATA_KEY: json.dumps(facts, sort_keys=True)}
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


def complete(
    make_writer: Callable[[], Callable[[Unit], PartMetadata]],
    units: Sequence[Unit],
    folder: str,
    key: str,
    resources: Resources,
    *,
    what: str,
    pool: cluster.ActorPool | None = None,
) -> CompletedParts:
    """Write the parts of a job that are missing, in parallel.

    Args:
        make_writer: Called once in every actor; returns the function that writes the
            part of a unit and returns the part's metadata.
        units: All units of the job.
        folder: Directory of the parts.
        key: The job key.
        resources: Where the job runs.
        what: Names the rows in progress reports, such as "score: rows".
        pool: The actors to use; new ones if None.
    """
    found = finished(folder, key, [unit.index for unit in units])
    missing = [unit for unit in units if unit.index not in found]
    rows = sum(unit.rows for unit in missing)
    if missing:
        cluster.connect(resources)
        written = cluster.stream_actors(
            make_writer,
            missing,
            what=what,
            units=lambda unit: unit.rows,
            done=sum(unit.rows for unit in units) - rows,
            gpus=resources.gpus_per_process,
            pool=pool,
        )
        for unit, metadata in zip(missing, written, strict=True):
            found[unit.index] = metadata
    return CompletedParts([found[unit.index] for unit in units], rows)


def finished(folder: str, key: str, indices: Iterable[int]) -> dict[int, PartMetadata]:
    """The facts of the job's parts that are whole, by their numbers.

    A part is whole if its footer can be read, names the job `key`, and the files that
    it says belong to it are there.
    """
    there = storage.file_sizes(folder)
    candidates = [i for i in indices if file_name(i) in there]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda i: _finished(folder, i, key, set(there)), candidates)
        return {i: part for i, part in zip(candidates, found, strict=True) if part}


def _finished(
    folder: str, index: int, key: str, there: set[str]
) -> PartMetadata | None:
    footer = read_footer(storage.join(folder, file_name(index)))
    facts = read_metadata(footer) if footer else None
    if footer is None or facts is None or facts["job_key"] != key:
        return None
    companions: dict[str, int] = facts.get("companions", {})
    if not there.issuperset(companions):
        return None
    rows = {file_name(index): footer.num_rows, **companions}
    files = [manifest.file_entry(folder, file, count) for file, count in rows.items()]
    return {**facts, "files": files}


def read_footer(path: str) -> pq.FileMetaData | None:
    """The footer of a Parquet file, or None if it is damaged."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            return pq.read_metadata(file)
    except pa.ArrowInvalid:
        return None


def read_metadata(footer: pq.FileMetaData) -> PartMetadata | None:
    """The facts in a footer, or None if it has none."""
    content = (footer.metadata or {}).get(METADATA_KEY)
    facts: PartMetadata | None = json.loads(content) if content else None
    return facts
