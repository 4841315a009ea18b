"""Datasets of Parquet files with one schema, opened from their footers alone."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.data import OnBadFile, OnMissing
from tasks.data import hive
from tasks.data.files import find_files, read_footer
from tasks.data.fragments import Fragment, divide_files
from tasks.data.schema import NOTHING_KNOWN, common_schema, flat_schema_of
from tasks.data.source_file import SourceFile, open_source
from tasks.runtime import storage

logger = logging.getLogger(__name__)

Given = TypeVar("Given")
Result = TypeVar("Result")

READERS = 8
"""Number of threads that read footers and hash files."""


@dataclass(frozen=True)
class BadFile:
    """A file that was set aside because it cannot be read.

    Attributes:
        name: Name relative to the root of the dataset.
        reason: What is wrong with the file.
        rows: Number of rows, or 0 if the footer cannot be read.
    """

    name: str
    reason: str
    rows: int = 0


@dataclass(frozen=True)
class Dataset:
    """Parquet files that together hold one table.

    Attributes:
        root: Directory that file names are relative to.
        files: Relative names of the readable files, in order.
        fragments: All rows, in order.
        schema: Arrow schema of every row, hive columns included.
        bad_files: Files that were set aside.
        sources: The readable files as they were when the dataset was opened.
        missing: By column, the files that lack it and in which it is null.
        version: Version of the Delta table that the files belong to, or None.
    """

    root: str
    files: tuple[str, ...]
    fragments: tuple[Fragment, ...]
    schema: pa.Schema
    bad_files: tuple[BadFile, ...]
    sources: tuple[SourceFile, ...]
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    version: int | None = None

    @property
    def rows(self) -> int:
        """Number of rows in all readable files."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def missing_columns(self) -> dict[str, int]:
        """Number of files that lack a column, by its name."""
        return {name: len(files) for name, files in self.missing.items()}

    @cached_property
    def hive_keys(self) -> dict[str, set[str]]:
        """The values of each hive key, of files that store it, too."""
        found: dict[str, set[str]] = {}
        for name in self.files:
            for key, value in hive.key_values(name):
                found.setdefault(key, set()).add(value)
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Hash of file names and contents, independent of the dataset's location."""
        digest = hashlib.sha256()
        for name, source in zip(self.files, self.sources, strict=True):
            assert source.content, "the dataset was opened without hashes"
            digest.update(f"{name}\0{source.content}\n".encode())
        for bad in self.bad_files:
            digest.update(f"{bad.name}\0bad\n".encode())
        if self.version is not None:
            digest.update(f"version {self.version}\n".encode())
        return digest.hexdigest()[:16]


def open_dataset(
    path: str,
    *,
    rows_per_fragment: int | Callable[[pa.Schema], int],
    on_bad_file: OnBadFile = "stop",
    on_missing: OnMissing = "null",
    trained: pa.Schema = NOTHING_KNOWN,
    hashed: bool = True,
) -> Dataset:
    """Open the Parquet files at a path and check that they hold one table.

    Args:
        path: A file, a directory (with all below it) or a glob pattern that matches
            either; local or s3://. Hive directories `key=value` become columns. Names
            that start with `_` or `.` and unfinished files are ignored.
        rows_per_fragment: Maximum number of rows of a fragment, or a function that
            returns it for the schema.
        on_bad_file: Whether an unreadable file raises an error or is set aside.
        on_missing: Whether a column that some files lack is null there, or an error.
        trained: Columns of the rows that a model was trained on, as `trained_schema`
            returns them.
        hashed: Whether to hash the content of every file, for the fingerprint.

    Raises:
        FileNotFoundError: There is no such path, or no file in it.
        PermissionError: A file may not be read.
        ValueError: A file is not Parquet or damaged, files contradict each other, or
            there are no rows.
    """
    found = find_files(path)
    root, paths = found.root, {n: storage.join(found.root, n) for n in found.names}
    stamps = _map_files(storage.stamp, paths)
    footers, bad_files = _read_footers(path, paths, on_bad_file)
    sources = _open_sources({n: (paths[n], stamps[n]) for n in footers}, hashed)
    schemas = {n: flat_schema_of(paths[n], footer) for n, footer in footers.items()}
    known = [*trained, *(key for key in found.keys if key.name not in trained.names)]
    common = common_schema(
        root, schemas, on_missing=on_missing, trained=pa.schema(known)
    )
    if common.missing:
        logger.warning("%s: %s", path, describe_missing(common.missing))
    if callable(rows_per_fragment):
        rows_per_fragment = rows_per_fragment(common.schema)
    fragments = divide_files(
        sources, footers, common.partitions, common.schema, rows_per_fragment
    )
    if not fragments:
        raise ValueError(
            f"{path}: no rows in {len(footers)} files; use a dataset with rows"
        )
    return Dataset(
        root,
        tuple(footers),
        fragments,
        common.schema,
        tuple(bad_files),
        tuple(sources.values()),
        common.missing,
        found.version,
    )


def describe_missing(missing: Mapping[str, tuple[str, ...]]) -> str:
    """Return a sentence on columns that are null in files that lack them."""
    return "; ".join(
        f"column {column!r} is null in {len(files)} files that lack it, such as "
        f"{files[0]}"
        for column, files in missing.items()
    )


def _map_files(
    function: Callable[[Given], Result], given: Mapping[str, Given]
) -> dict[str, Result]:
    """Call a function on what is given of each file, in threads."""
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(given, pool.map(function, given.values()), strict=True))


def _open_sources(
    files: Mapping[str, tuple[str, storage.Stamp | None]], hashed: bool
) -> dict[str, SourceFile]:
    """Return the files as they are, by name, from their paths and earlier stamps."""

    def open_file(file: tuple[str, storage.Stamp | None]) -> SourceFile:
        return open_source(*file, hashed=hashed)

    return _map_files(open_file, files)


def _read_footers(
    given: str, paths: Mapping[str, str], on_bad_file: OnBadFile
) -> tuple[Mapping[str, pq.FileMetaData], list[BadFile]]:
    """Read the footers of all files, setting aside those that cannot be read.

    Args:
        given: Path of the dataset as it was given, for messages.
        paths: Path of each file by its relative name.
        on_bad_file: Whether an unreadable file raises an error or is set aside.

    Raises:
        PermissionError: A file may not be read.
        ValueError: A file, or all if they may be set aside, cannot be read; then the
            message names the path as it was given.
    """
    footers: dict[str, pq.FileMetaData] = {}
    bad_files: list[BadFile] = []
    for name, result in _map_files(read_footer, paths).items():
        path = paths[name]
        if isinstance(result, pq.FileMetaData):
            footers[name] = result
        elif on_bad_file == "quarantine":
            bad_files.append(BadFile(name, str(result)))
        elif isinstance(result, PermissionError):
            raise PermissionError(
                f"{path}: no permission to read it; allow it, or set "
                "data.on_bad_file: quarantine"
            ) from result
        else:
            raise ValueError(
                f"{path}: {result}; replace it, or set data.on_bad_file: quarantine"
            )
    if not footers:
        raise ValueError(
            f"{given}: none of its {len(bad_files)} files can be read "
            f"({bad_files[0].name}: {bad_files[0].reason}); replace them"
        )
    return footers, bad_files
