"""Files, local or on S3, that appear whole or not at all."""

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
"""Names of unfinished files start so; every reader of folders leaves them out."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the device, within the quota, or below the limit of a file's size."""


def resolve(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path within it.

    S3 takes its endpoint from `AWS_ENDPOINT_URL` when set, as the AWS tools do.
    """
    if path.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
            "AWS_ENDPOINT_URL"
        )
        return pafs.S3FileSystem(endpoint_override=endpoint), path[5:].rstrip("/")
    if "://" in path:
        filesystem, inner = pafs.FileSystem.from_uri(path)
        return filesystem, inner
    return pafs.LocalFileSystem(), str(Path(path).absolute())


def join(folder: str, *names: str) -> str:
    """`folder` and what is below it, joined with slashes."""
    return "/".join([folder.rstrip("/"), *names])


def exists(path: str) -> bool:
    """Whether a file or folder stands at `path`."""
    filesystem, inner = resolve(path)
    return bool(filesystem.get_file_info(inner).type != pafs.FileType.NotFound)


def list_files(folder: str) -> list[str]:
    """Sorted names of the finished files in `folder`, not of those below."""
    return sorted(
        info.base_name
        for info in _list(folder)
        if info.type == pafs.FileType.File and not info.base_name.startswith(TEMPORARY)
    )


def list_folders(folder: str) -> list[str]:
    """Sorted names of the folders in `folder`."""
    return sorted(
        info.base_name for info in _list(folder) if info.type == pafs.FileType.Directory
    )


def entries(folder: str) -> list[str]:
    """Sorted names of all files and folders in `folder`, unfinished ones too."""
    return sorted(info.base_name for info in _list(folder))


def sizes(folder: str) -> dict[str, int]:
    """Bytes of every file in `folder` and below, by its path from there."""
    _, inner = resolve(folder)
    return {
        info.path[len(inner) :].lstrip("/"): info.size
        for info in _list(folder, recursive=True)
        if info.type == pafs.FileType.File
    }


def size(path: str) -> int:
    """Bytes of a file."""
    filesystem, inner = resolve(path)
    return int(filesystem.get_file_info(inner).size)


def _list(folder: str, recursive: bool = False) -> list[pafs.FileInfo]:
    """What is in a folder; nothing if there is none."""
    filesystem, inner = resolve(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True, recursive=recursive)
    found: list[pafs.FileInfo] = filesystem.get_file_info(selector)
    return found


def delete(path: str) -> None:
    """Deletes a file or a folder with all below it; nothing there is no error."""
    filesystem, inner = resolve(path)
    kind = filesystem.get_file_info(inner).type
    if kind == pafs.FileType.Directory:
        filesystem.delete_dir(inner)
    elif kind == pafs.FileType.File:
        filesystem.delete_file(inner)


def delete_unfinished(folder: str) -> None:
    """Deletes what killed writers left in a local `folder` and below.

    No writer may be alive. On S3 there are no unfinished files.
    """
    if not isinstance(resolve(folder)[0], pafs.LocalFileSystem):
        return
    for path in sizes(folder):
        if path.rpartition("/")[2].startswith(TEMPORARY):
            delete(join(folder, path))


def make_folder(folder: str) -> None:
    """Makes a local folder and those above it; it may be there already.

    Raises:
        OSError: There is no right to, or a file stands in the way.
    """
    path = Path(resolve(folder)[1])
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(error, folder, path) from error


@contextmanager
def publish(path: str) -> Iterator[Path]:
    """A local path to write to, which appears at `path` if the block ends well.

    Local files are written beside their goal, flushed to disk and renamed; others are
    written to a temporary file and uploaded in one piece.

    Raises:
        OSError: There is no space or no right to write; the message says where.
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
        # Once the file is there, a right that lacks is one to something else.
        if error.errno not in NO_SPACE and os.path.exists(unfinished):
            raise
        raise _explained(error, path, folder) from error
    finally:
        if os.path.exists(unfinished):
            unfinished.unlink()


def _flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: str, folder: Path) -> OSError:
    """What to raise for an error in writing to `folder`; says what would do."""
    # os.path calls a place that may not be looked at missing; Path would raise.
    there = next(p for p in [folder, *folder.parents] if os.path.exists(p))
    if error.errno in NO_SPACE:
        return OSError(
            f"{path}: no space left in {there}; free some and run again, finished "
            "files are kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionError(
            f"{path}: no right to write in {there}; change its permissions or name "
            "another folder"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return NotADirectoryError(
            f"{path}: {there} is a file, not a folder; name another folder"
        )
    return type(error)(f"{path}: cannot be written: {error}")


def write_json(path: str, content: Any) -> None:  # any JSON-able value
    """Publishes `content` as indented JSON."""
    with publish(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: str) -> Any:  # any JSON value
    """The JSON value in the file at `path`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON.
    """
    filesystem, inner = resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        content = stream.read()
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path}: damaged, not JSON: {error}") from error


def checksum(path: str) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    filesystem, inner = resolve(path)
    digest = hashlib.sha256()
    with filesystem.open_input_stream(inner) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(folder: str, target: Path) -> Path:
    """A local copy of `folder`, or the folder itself where it is local already."""
    filesystem, inner = resolve(folder)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return Path(inner)
    target.mkdir(parents=True, exist_ok=True)
    pafs.copy_files(inner, str(target.absolute()), source_filesystem=filesystem)
    return target
