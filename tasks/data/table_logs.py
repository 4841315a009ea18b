"""Tables whose files are listed in a log: Delta, Iceberg and Hudi.

The files in the folder of such a table are more than the table: rows that were deleted
or rewritten stand in files of earlier versions. Delta tables are read by their log, by
the optional package `deltalake`; the others are refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from tasks.data import hive

LOGS = {
    "Delta": re.compile(r"(^|.*/)_delta_log/.*"),
    "Iceberg": re.compile(
        r"(^|.*/)metadata/[^/]*(\.metadata\.json|\.avro|version-hint\.text)"
    ),
    "Hudi": re.compile(r"(^|.*/)\.hoodie/.*"),
}
"""Patterns of the files of a log, relative to any directory; group 1 is its table."""

FOLDERS = {"Delta": "_delta_log", "Iceberg": "metadata", "Hudi": ".hoodie"}
"""Directory of the log within a table."""


@dataclass(frozen=True)
class Snapshot:
    """A version of a Delta table.

    Attributes:
        root: Directory of the table.
        version: Number of the version.
        names: Its files, relative to the directory.
        keys: Types of the columns that the table is partitioned by.
    """

    root: str
    version: int
    names: frozenset[str]
    keys: pa.Schema


def find_tables(
    filesystem: pafs.FileSystem, base: str, listed: Iterable[str]
) -> dict[str, str]:
    """Return the kind of each table with a log that holds files or lies below them.

    Args:
        filesystem: Where the files are.
        base: Directory that holds all files.
        listed: Paths of all files below, those of logs included.

    Returns:
        Delta, Iceberg or Hudi, by the directory of the table.
    """
    found = {}
    for kind, pattern in LOGS.items():
        for path in listed:
            match = pattern.fullmatch(path)
            if match:
                found[match[1].rstrip("/")] = kind
    segments = base.split("/")
    for depth in range(len(segments), 0, -1):
        folder = "/".join(segments[:depth])
        own = _kind_of(filesystem, folder) if folder else None
        if own is not None:
            found[folder] = own
    return found


def _kind_of(filesystem: pafs.FileSystem, folder: str) -> str | None:
    """Return the kind of the table in a directory, or None if it has no log."""
    paths = {kind: f"{folder}/{name}" for kind, name in FOLDERS.items()}
    infos = filesystem.get_file_info(list(paths.values()))
    for kind, info in zip(paths, infos, strict=True):
        if info.type != pafs.FileType.Directory:
            continue
        if kind != "Iceberg":  # other folders have this name, too
            return kind
        inside = filesystem.get_file_info(pafs.FileSelector(info.path))
        if any(LOGS[kind].fullmatch(each.path) for each in inside):
            return kind
    return None


def only_snapshot(path: str, prefix: str, tables: dict[str, str]) -> Snapshot | None:
    """Return the current version of the Delta table that a path lies in or names.

    Args:
        path: The path as given, for messages.
        prefix: Scheme of paths in the file system, such as s3://.
        tables: Kind of each table by its directory, as `find_tables` returns them.

    Returns:
        The version, or None if there is no table with a log.

    Raises:
        ValueError: There are several tables, or one of a kind that cannot be read.
    """
    if not tables:
        return None
    root, kind = next(iter(tables.items()))
    if len(tables) > 1:
        names = ", ".join(f"{prefix}{table}" for table in sorted(tables)[:3])
        raise ValueError(
            f"{path}: holds {len(tables)} tables with logs ({names}); name one of them"
        )
    if kind != "Delta":
        raise ValueError(
            f"{prefix}{root}: is {'an' if kind == 'Iceberg' else 'a'} {kind} table, "
            "whose folder also holds rows that were deleted or replaced; write a "
            "snapshot of it to Parquet files elsewhere and name these in data.path"
        )
    return _read_log(f"{prefix}{root}", root)


def _read_log(uri: str, root: str) -> Snapshot:
    """Read the log of a Delta table.

    Raises:
        ValueError: The package deltalake is not installed, or the table cannot be read
            from its files alone.
    """
    try:
        import deltalake
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise ValueError(
            f"{uri}: is a Delta table, whose folder also holds rows that were deleted "
            "or replaced; install deltalake to read it (pip install "
            "'chainrule[delta]'), or write a version of it to Parquet files elsewhere "
            "and name these in data.path"
        ) from error
    try:
        table = deltalake.DeltaTable(uri)
        added = pa.table(table.get_add_actions(flatten=True))
        deleted = pa.table(table.deletion_vectors()).num_rows
        schema = pa.schema(table.schema().to_arrow())
    except DeltaError as error:
        raise ValueError(f"{uri}: its Delta log cannot be read: {error}") from error
    names = [unquote(path) for path in added.column("path").to_pylist()]
    about = table.metadata()
    _check_plain(uri, about, names, deleted)
    keys = pa.schema([schema.field(name) for name in about.partition_columns])
    return Snapshot(root, table.version(), frozenset(names), keys)


def _check_plain(uri: str, about: Any, names: list[str], deleted: int) -> None:
    """Raise unless the files of a Delta table hold its rows, and its directories keys.

    Args:
        uri: The table.
        about: Its metadata, of a class of deltalake.
        names: Its files.
        deleted: Number of files of which rows are deleted.

    Raises:
        ValueError: They do not.
    """
    keys = list(about.partition_columns)
    mapping = about.configuration.get("delta.columnMapping.mode", "none")
    problem = ""
    if deleted:
        problem = "rows are deleted by deletion vectors"
    elif mapping != "none":
        problem = f"columns have other names in its files (column mapping {mapping})"
    elif any([key for key, _ in hive.key_values(name)] != keys for name in names):
        problem = f"its files do not lie in directories of {', '.join(keys)}"
    if problem:
        raise ValueError(
            f"{uri}: {problem}, which is not supported for Delta tables; write a "
            "version of it to Parquet files elsewhere and name these in data.path"
        )
