"""Numbered Parquet files of a bulk job, each with the facts about it in its footer."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks import cluster, manifest, storage
from tasks.config import Resources

FACTS = b"chainrule"
"""Key of the footer's metadata under which the facts stand as JSON."""

READERS = 8
"""Parts that are looked at together."""

Facts = dict[str, Any]
"""What is known about a part, JSON-able, with the `job_key`. `files` are the entries
of the manifest for the part and for what belongs to it; they are not in the footer."""


class Piece(Protocol):
    """A fragment or a shard: what becomes one part."""

    @property
    def index(self) -> int:
        """The number of the part."""

    @property
    def rows(self) -> int:
        """How much work it is."""


Work = TypeVar("Work", bound=Piece)


def name(index: int) -> str:
    """The file name of part number `index`."""
    return f"part-{index:05d}.parquet"


def write(
    folder: str, file: str, table: pa.Table, facts: Facts, *, compression: str = "zstd"
) -> dict[str, Any]:
    """Publishes `table` as `file` in `folder`; returns its entry of the manifest.

    Equal tables and facts give equal bytes.
    """
    table = table.replace_schema_metadata({FACTS: json.dumps(facts, sort_keys=True)})
    with storage.publish(storage.join(folder, file)) as unfinished:
        pq.write_table(
            table,
            unfinished,
            row_group_size=max(1, table.num_rows),
            compression=compression,
        )
        return manifest.entry(str(unfinished), file, table.num_rows)


def complete(
    make: Callable[[], Callable[[Work], Facts]],
    pieces: Sequence[Work],
    folder: str,
    key: str,
    resources: Resources,
    *,
    what: str,
    crew: cluster.Crew | None = None,
) -> tuple[list[Facts], int]:
    """Makes the parts that are not there yet, in parallel.

    Args:
        make: Makes, once in every process, the function from a piece to the facts of
            the part that it wrote.
        pieces: The whole job.
        folder: Where its parts stand.
        key: Its job key.
        resources: Where it runs.
        what: Names the rows in reports of progress.
        crew: The actors to take; new ones if None.

    Returns:
        The facts of all parts, in order, and how many rows were worked on now.
    """
    found = finished(folder, key, [piece.index for piece in pieces])
    missing = [piece for piece in pieces if piece.index not in found]
    rows = sum(piece.rows for piece in missing)
    if missing:
        cluster.connect(resources)
        new = cluster.stream_actors(
            make,
            missing,
            what=what,
            units=lambda piece: piece.rows,
            done=sum(piece.rows for piece in pieces) - rows,
            gpus=resources.gpus_per_process,
            crew=crew,
        )
        for piece, facts in zip(missing, new, strict=True):
            found[piece.index] = facts
    return [found[piece.index] for piece in pieces], rows


def finished(folder: str, key: str, indices: Iterable[int]) -> dict[int, Facts]:
    """The facts of the job's parts that are whole, by their numbers.

    A part is whole if its footer can be read, names the job `key`, and the files that
    it says belong to it are there.
    """
    there = storage.sizes(folder)
    candidates = [i for i in indices if name(i) in there]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda i: _finished(folder, i, key, set(there)), candidates)
        return {i: part for i, part in zip(candidates, found, strict=True) if part}


def _finished(folder: str, index: int, key: str, there: set[str]) -> Facts | None:
    footer = read_footer(storage.join(folder, name(index)))
    facts = read_facts(footer) if footer else None
    if footer is None or facts is None or facts["job_key"] != key:
        return None
    beside: dict[str, int] = facts.get("beside", {})
    if not there.issuperset(beside):
        return None
    rows = {name(index): footer.num_rows, **beside}
    files = [manifest.describe(folder, file, count) for file, count in rows.items()]
    return {**facts, "files": files}


def read_footer(path: str) -> pq.FileMetaData | None:
    """The footer of a Parquet file, or None if it is damaged."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            return pq.read_metadata(file)
    except pa.ArrowInvalid:
        return None


def read_facts(footer: pq.FileMetaData) -> Facts | None:
    """The facts in a footer, or None if it has none."""
    content = (footer.metadata or {}).get(FACTS)
    facts: Facts | None = json.loads(content) if content else None
    return facts
