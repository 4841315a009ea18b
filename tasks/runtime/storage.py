"""Local and S3 files, published atomically: readers see a whole file or none."""

import errno
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files, which readers of directories skip."""

CONNECT_SECONDS = 10.0
"""Seconds that a connection to S3 may take."""

REQUEST_SECONDS = 20.0
"""Seconds without a byte after which a request to S3 is given up; it is made three
times."""

Stamp = tuple[int | str, ...]
"""Identity of one version of a file: size, times and inode, or ETag and version."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error codes for a full disk, an exhausted quota and the maximum file size."""


def resolve(path: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI, and the path within it.

    The endpoint of S3 is `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` if set, as for the
    AWS tools.
    """
    if path.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
            "AWS_ENDPOINT_URL"
        )
        s3 = pafs.S3FileSystem(
            endpoint_override=endpoint,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
        )
        return s3, path[5:].rstrip("/")
    if "://" in path:
        filesystem, inner = pafs.FileSystem.from_uri(path)
        return filesystem, inner
    return pafs.LocalFileSystem(), str(Path(path).absolute())


def join(folder: str, *names: str) -> str:
    """Join a directory and the names below it with slashes."""
    return "/".join([folder.rstrip("/"), *names])


def exists(path: str) -> bool:
    """Return whether a file or directory exists at `path`."""
    filesystem, inner = resolve(path)
    return bool(filesystem.get_file_info(inner).type != pafs.FileType.NotFound)


def list_files(folder: str) -> list[str]:
    """Return the sorted names of the finished files directly in a directory."""
    return sorted(
        info.base_name
        for info in _list(folder)
        if info.type == pafs.FileType.File and not info.base_name.startswith(TEMPORARY)
    )


def list_folders(folder: str) -> list[str]:
    """Return the sorted names of the subdirectories of a directory."""
    return sorted(
        info.base_name for info in _list(folder) if info.type == pafs.FileType.Directory
    )


def list_entries(folder: str) -> list[str]:
    """Return the sorted names of all files and subdirectories, also unfinished ones."""
    return sorted(info.base_name for info in _list(folder))


def file_sizes(folder: str) -> dict[str, int]:
    """Return the size in bytes of every file below a directory, by relative path."""
    _, inner = resolve(folder)
    return {
        info.path[len(inner) :].lstrip("/"): info.size
        for info in _list(folder, recursive=True)
        if info.type == pafs.FileType.File
    }


def file_size(path: str) -> int:
    """Return the size of a file in bytes."""
    filesystem, inner = resolve(path)
    return int(filesystem.get_file_info(inner).size)


def stamp(path: str) -> Stamp | None:
    """Return what differs between two versions of a file, or None if it is absent.

    Size, time of the last change of content and of attributes in nanoseconds, and inode
    of a local file; size, ETag and version of an object on S3.
    """
    filesystem, inner = resolve(path)
    if isinstance(filesystem, pafs.LocalFileSystem):
        try:
            found = os.stat(inner)
        except (FileNotFoundError, NotADirectoryError):
            return None
        # The time of a file's attributes cannot be set to an earlier one.
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    try:
        tags = object_tags(filesystem, inner)
    except FileNotFoundError:
        return None
    if tags:
        return tags
    info = filesystem.get_file_info(inner)
    return info.size, info.mtime_ns


def object_tags(filesystem: pafs.FileSystem, inner: str) -> tuple[str, ...]:
    """Return ETag, version and size of an object on S3; empty on other systems.

    Args:
        filesystem: The file system.
        inner: Path of the object within it.
    """
    with filesystem.open_input_file(inner) as file:
        found = file.metadata() or {}
    if not found.get("ETag"):
        return ()
    names = ("ETag", "VersionId", "Content-Length")
    return tuple(found[name].decode() for name in names if found.get(name))


def _list(folder: str, recursive: bool = False) -> list[pafs.FileInfo]:
    """List the entries of a directory; an absent one has none."""
    filesystem, inner = resolve(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True, recursive=recursive)
    found: list[pafs.FileInfo] = filesystem.get_file_info(selector)
    return found


def change_time(path: str) -> int:
    """Return when a file was last changed, or its attributes, in nanoseconds."""
    filesystem, inner = resolve(path)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return os.stat(inner).st_ctime_ns
    return int(filesystem.get_file_info(inner).mtime_ns)


def move(path: str, target: str) -> None:
    """Move a file within a file system; directories are created as needed."""
    filesystem, inner = resolve(path)
    destination = resolve(target)[1]
    filesystem.create_dir(destination.rpartition("/")[0], recursive=True)
    filesystem.move(inner, destination)


def delete(path: str) -> None:
    """Delete a file or a directory with its content, if it exists."""
    filesystem, inner = resolve(path)
    kind = filesystem.get_file_info(inner).type
    if kind == pafs.FileType.Directory:
        filesystem.delete_dir(inner)
    elif kind == pafs.FileType.File:
        filesystem.delete_file(inner)


def delete_unfinished(folder: str) -> None:
    """Delete the temporary files that killed writers left below a local directory.

    No writer may be running. On S3 there are no such files.
    """
    if not isinstance(resolve(folder)[0], pafs.LocalFileSystem):
        return
    for path in file_sizes(folder):
        if path.rpartition("/")[2].startswith(TEMPORARY):
            delete(join(folder, path))


def make_folder(folder: str) -> None:
    """Create a local directory and its parents; it may exist already.

    Raises:
        OSError: The permission is missing, or a file has the name of a directory.
    """
    path = Path(resolve(folder)[1])
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(error, folder, path) from error


@contextmanager
def publish(path: str) -> Iterator[Path]:
    """Yield a local path to write to, and publish the file when the block succeeds.

    A local file is written to the same directory, flushed to disk and renamed; a remote
    one is written to a temporary file and uploaded in one request.

    Args:
        path: Where the file is published, local or S3.

    Raises:
        OSError: The disk is full, or the permission to write is missing.
    """
    filesystem, inner = resolve(path)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    folder = Path(inner).parent if local else Path(tempfile.gettempdir())
    make_folder(str(folder))
    unfinished = folder / f"{TEMPORARY}{uuid.uuid4().hex}-{Path(inner).name}"
    try:
        yield unfinished
        if local:
            _flush(unfinished)
            os.replace(unfinished, inner)
            _flush(folder)
        else:
            pafs.copy_files(str(unfinished), inner, destination_filesystem=filesystem)
    except OSError as error:
        # Once the file exists, a missing permission concerns something else.
        if error.errno not in NO_SPACE and os.path.exists(unfinished):
            raise
        raise _explained(error, path, folder) from error
    finally:
        if os.path.exists(unfinished):
            unfinished.unlink()


def _flush(path: Path) -> None:
    """Flush a file's content, or a directory's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: str, folder: Path) -> OSError:
    """Return the error to raise for a failed write, with its remedy."""
    # os.path.exists is false for a path that may not be read; Path.exists raises.
    existing = next(p for p in [folder, *folder.parents] if os.path.exists(p))
    if error.errno in NO_SPACE:
        return OSError(
            f"{path}: no space left in {existing}; free some and run again, finished "
            "files are kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionError(
            f"{path}: no permission to write in {existing}; change its permissions "
            "or choose another directory"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return NotADirectoryError(
            f"{path}: {existing} is a file, not a directory; choose another directory"
        )
    return type(error)(f"{path}: cannot be written: {error}")


def write_json(path: str, content: Any) -> None:  # any JSON-able value
    """Publish a value as indented JSON."""
    with publish(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: str) -> Any:  # any JSON value
    """Read a JSON file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not JSON.
    """
    filesystem, inner = resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        content = stream.read()
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path}: damaged, not JSON: {error}") from error


def checksum(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    filesystem, inner = resolve(path)
    digest = hashlib.sha256()
    with filesystem.open_input_stream(inner) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(folder: str, target: Path) -> Path:
    """Return a local directory as it is, or copy a remote one to `target`."""
    filesystem, inner = resolve(folder)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return Path(inner)
    target.mkdir(parents=True, exist_ok=True)
    pafs.copy_files(inner, str(target.absolute()), source_filesystem=filesystem)
    return target
