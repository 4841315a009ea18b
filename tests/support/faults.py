"""Faults that tests inject into files, and the jobs that they inject them into."""

import os
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
from tests.support.tables import small_table

ROWS = 600
"""Rows of the dataset that is scored, in three fragments."""

Fault = Callable[[Path], None]


def rows_of(seed: int, rows: int = ROWS) -> pa.Table:
    """Return rows that the small model knows; those of another seed differ."""
    return small_table(rows, seed=seed)


def score_rows(model: str, source: Path, output: Path, **settings: Any) -> ScoreResult:
    """Score a dataset in three fragments."""
    config = ScoreConfig(rows_per_fragment=200, **settings)
    dataset = Source(str(source), ("id",))
    return score.score(model, dataset, str(output), config, Resources())


def flip(path: Path, place: float = 0.5) -> None:
    """Invert one bit of a file, at a share of its length, in place."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    write_in_place(path, bytes(content))


def zero(path: Path) -> None:
    """Replace the content of a file by as many zeros."""
    write_in_place(path, bytes(path.stat().st_size))


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    write_in_place(path, path.read_bytes()[: path.stat().st_size // 2])


def make_binary(path: Path) -> None:
    """Replace the content of a file by bytes that are not a text."""
    write_in_place(path, b"\xff\xfe\x00\x80")


def empty(path: Path) -> None:
    """Remove the content of a file."""
    write_in_place(path, b"")


def delete(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def write_in_place(path: Path, content: bytes) -> None:
    """Replace the content of a file without replacing the file."""
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(content)


def rename_over(path: Path) -> None:
    """Replace a dataset by other rows in as large row groups, under the same name."""
    other = path.with_suffix(".other")
    pq.write_table(rows_of(seed=8), other, row_group_size=100)
    os.replace(other, path)


def rewrite(path: Path) -> None:
    """Write other rows into the file of a dataset, in as large row groups."""
    other = path.with_suffix(".other")
    pq.write_table(rows_of(seed=8), other, row_group_size=100)
    write_in_place(path, other.read_bytes())
    other.unlink()


def rewrite_within_the_same_time(path: Path) -> None:
    """Write other rows into a file, and set back the time of its last change."""
    found = path.stat()
    rewrite(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def regroup(path: Path) -> None:
    """Write the same rows in larger row groups."""
    pq.write_table(rows_of(seed=7), path, row_group_size=150)


def grow(path: Path) -> None:
    """Write the rows of a file and as many others into it."""
    rows = pa.concat_tables([rows_of(seed=7), rows_of(seed=8)])
    pq.write_table(rows, path, row_group_size=100)


def stop() -> None:
    """Stop the job, as Ctrl-C does."""
    raise KeyboardInterrupt


def put_back(path: Path, content: bytes) -> None:
    """Restore a file, with another inode and time than before."""
    copy = path.with_suffix(".copy")
    copy.write_bytes(content)
    os.replace(copy, path)


def once(action: Callable[[], None], function: Any, number: int) -> Any:
    """Return a function that acts before its call of a number, counted from 0."""
    calls: list[None] = []

    def call(*arguments: Any, **options: Any) -> Any:
        if len(calls) == number:
            action()
        calls.append(None)
        return function(*arguments, **options)

    return call


def parts_of(output: Path) -> dict[str, bytes]:
    """Return the parts of a local job by name."""
    return {path.name: path.read_bytes() for path in output.glob("part-*.parquet")}
