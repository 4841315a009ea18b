"""Files, local or on S3, that appear whole or not at all."""

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


def resolve(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path within it.

    S3 takes its endpoint from `AWS_ENDPOINT_URL` when set, as the AWS tools do.
    """
    if path.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
            "AWS_ENDPOINT_URL"
        )
        return pafs.S3FileSystem(endpoint_override=endpoint), path[len("s3://") :]
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
    filesystem, inner = resolve(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True)
    return sorted(
        info.base_name
        for info in filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File and not info.base_name.startswith(TEMPORARY)
    )


def delete(path: str) -> None:
    """Deletes a file or a folder with all below it; nothing there is no error."""
    filesystem, inner = resolve(path)
    kind = filesystem.get_file_info(inner).type
    if kind == pafs.FileType.Directory:
        filesystem.delete_dir(inner)
    elif kind == pafs.FileType.File:
        filesystem.delete_file(inner)


@contextmanager
def publish(path: str) -> Iterator[Path]:
    """A local path to write to, which appears at `path` if the block ends well.

    Local files are written beside their goal, flushed to disk and renamed; others are
    written to a temporary file and uploaded in one piece.
    """
    filesystem, inner = resolve(path)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    folder = Path(inner).parent if local else Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{TEMPORARY}{uuid.uuid4().hex}-{Path(inner).name}"
    try:
        yield unfinished
        if local:
            with open(unfinished, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, inner)
        else:
            pafs.copy_files(str(unfinished), inner, destination_filesystem=filesystem)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: str, content: Any) -> None:  # any JSON-able value
    """Publishes `content` as indented JSON."""
    with publish(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: str) -> Any:  # any JSON value
    """The JSON value in the file at `path`."""
    filesystem, inner = resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        return json.loads(stream.read())


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
    pafs.copy_files(inner, str(target), source_filesystem=filesystem)
    return target
