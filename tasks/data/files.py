"""Parquet files below a path or a glob pattern, and what their footers say."""

import fnmatch
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tasks.data import hive
from tasks.data.table_logs import Snapshot, find_tables, only_snapshot
from tasks.runtime import storage

TAIL_BYTES = 1 << 16
"""Bytes at the end of a remote file that its fingerprint is computed from."""

MAGIC = b"PAR1"
"""First and last bytes of a Parquet file."""

NO_KEYS = pa.schema([])
"""The hive keys whose types are known where there is no log."""

WILDCARD = re.compile(r"[*?\[]")
UNFINISHED = (".tmp", ".crdownload", ".inprogress", "~")
"""Endings of files that another program still writes."""


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a dataset.

    Attributes:
        root: Root directory of the dataset, above any hive directories.
        names: Names of the files relative to it, in natural order (month=2 before
            month=10).
        version: Version of the Delta table that they belong to, or None.
        keys: Types of the hive keys of a Delta table.
    """

    root: str
    names: list[str]
    version: int | None = None
    keys: pa.Schema = NO_KEYS


def find_files(path: str) -> DatasetFiles:
    """Find the Parquet files of a dataset.

    Args:
        path: A file, a directory or a glob pattern; local or s3://. In the directory of
            a Delta table, only the files of its current version count.

    Raises:
        FileNotFoundError: Nothing is found.
        ValueError: The path lies in a table whose log cannot be read, or holds several.
    """
    filesystem, inner = storage.resolve(path)
    inner = inner.rstrip("/")
    prefix = "s3://" if path.startswith("s3://") else ""
    kind = filesystem.get_file_info(inner).type
    if kind == pafs.FileType.NotFound and WILDCARD.search(path):
        matches = _glob(filesystem, inner)
        base = _directory_of_glob(inner)
        if not matches:
            raise FileNotFoundError(f"{path}: nothing matches; check the pattern")
    elif kind == pafs.FileType.NotFound:
        raise FileNotFoundError(f"{path}: no such file or directory; check data.path")
    else:
        matches = [inner]
        base = inner if kind == pafs.FileType.Directory else inner.rpartition("/")[0]
    listed = {f: m for m in matches for f in _files_below(filesystem, m)}
    files = {f for f, m in listed.items() if not _is_hidden(f, below=m)}
    tables = find_tables(filesystem, base, listed)
    snapshot = only_snapshot(path, prefix, tables) if tables else None
    if snapshot is not None:
        return _files_of_snapshot(path, prefix, snapshot, files)
    if not files:
        raise FileNotFoundError(
            f"{path}: contains no Parquet file (names that start with _ or . are "
            "ignored); check data.path"
        )
    while hive.is_partition(base.rpartition("/")[2]):
        base = base.rpartition("/")[0]
    names = sorted((file[len(base) + 1 :] for file in files), key=_natural_key)
    return DatasetFiles(prefix + base, names)


def _files_of_snapshot(
    path: str, prefix: str, snapshot: Snapshot, files: Collection[str]
) -> DatasetFiles:
    """Return those of some files that belong to a version of a Delta table.

    Raises:
        FileNotFoundError: None does.
        ValueError: Some of the files are not in the table.
    """
    root = snapshot.root
    names = {file[len(root) + 1 :] for file in files if file.startswith(f"{root}/")}
    outside = sorted(file for file in files if not file.startswith(f"{root}/"))
    if outside:
        raise ValueError(
            f"{path}: holds the Delta table {prefix}{root} and other files, such as "
            f"{prefix}{outside[0]}; name the table or the files"
        )
    current = sorted(names & snapshot.names, key=_natural_key)
    if not current:
        raise FileNotFoundError(
            f"{path}: version {snapshot.version} of the Delta table {prefix}{root} has "
            "no file there; check data.path"
        )
    return DatasetFiles(prefix + root, current, snapshot.version, snapshot.keys)


def _glob(filesystem: pafs.FileSystem, pattern: str) -> list[str]:
    """List files and directories that match; ** matches directories of any depth."""
    found = [_directory_of_glob(pattern)]
    for segment in pattern[len(found[0]) :].strip("/").split("/"):
        after: list[str] = []
        for folder in found:
            if filesystem.get_file_info(folder).type != pafs.FileType.Directory:
                continue
            selector = pafs.FileSelector(
                folder, allow_not_found=True, recursive=segment == "**"
            )
            inside = filesystem.get_file_info(selector)
            if segment == "**":
                folders = [i for i in inside if i.type == pafs.FileType.Directory]
                after += [folder] + [info.path for info in folders]
            else:
                after += [
                    info.path
                    for info in inside
                    if fnmatch.fnmatchcase(info.base_name, segment)
                    and not _is_ignored(info.base_name)
                ]
        found = sorted(set(after))
    return found


def _directory_of_glob(pattern: str) -> str:
    """Return the directory prefix of a glob pattern, up to the first wildcard."""
    segments = pattern.split("/")
    first = next(i for i, segment in enumerate(segments) if WILDCARD.search(segment))
    return "/".join(segments[:first])


def _files_below(filesystem: pafs.FileSystem, path: str) -> list[str]:
    """Return the file itself, or all files below a directory."""
    if filesystem.get_file_info(path).type == pafs.FileType.File:
        return [path]
    selector = pafs.FileSelector(path, recursive=True)
    infos = filesystem.get_file_info(selector)
    return [info.path for info in infos if info.type == pafs.FileType.File]


def _is_hidden(file: str, *, below: str) -> bool:
    """Return whether a part of a path below a directory says that it is ignored."""
    return any(map(_is_ignored, file[len(below) + 1 :].split("/")))


def _is_ignored(name: str) -> bool:
    return name.startswith(("_", ".")) or name.endswith(UNFINISHED)


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares digits as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), p) if p.isdigit() else (0, 0, p) for p in parts]


def content_hash(path: str) -> str:
    """Return a hash of a file's content.

    It covers all bytes of a local file, and size, ETag (or modification time where
    there is none) and the last bytes of a remote one.
    """
    filesystem, inner = storage.resolve(path)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return storage.checksum(path)
    info = filesystem.get_file_info(inner)
    with filesystem.open_input_file(inner) as file:
        size = min(TAIL_BYTES, info.size)
        tail = file.read_at(size, max(0, info.size - TAIL_BYTES))
    version = "".join(storage.object_tags(filesystem, inner)[:1]) or info.mtime_ns
    stamp = f"{info.size} {version} ".encode()
    return hashlib.sha256(stamp + tail).hexdigest()


def read_footer(path: str) -> pq.FileMetaData | str | PermissionError:
    """Read the footer of a Parquet file, or return why it cannot be read."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            fault = _magic_fault(file)
            if fault:
                return fault
            metadata = pq.read_metadata(file)
            metadata.schema.to_arrow_schema()
            return metadata
    except PermissionError as error:
        return error
    except (pa.ArrowException, OSError) as error:
        damage = damage_of(error)
        if damage is None:
            raise
        return f"is damaged ({damage})"


def _magic_fault(file: pa.NativeFile) -> str | None:
    """Return what is wrong with the first and last bytes of a file, or None."""
    size = file.size()
    if size == 0:
        return "is empty (0 bytes), not a Parquet file"
    if file.read_at(4, 0) != MAGIC:
        return "is not a Parquet file"
    if size < 12 or file.read_at(4, size - 4) != MAGIC:
        return "is a truncated Parquet file, its end is missing"
    return None


def damage_of(error: Exception) -> str | None:
    """Return the first line of an error if a file's content caused it, else None.

    Arrow reports damaged pages as invalid data or as an OSError without a number;
    errors of the operating system have a number and those of S3 name AWS.
    """
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
        if error.errno is not None or "AWS Error" in str(error):
            return None
    return text
