"""The rule by which folders of results are published, resumed and refused."""

import errno
import fcntl
import hashlib
import json
import logging
import os
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow.fs as pafs

from tasks import storage

logger = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
CLAIM = "_job.json"

_locks: dict[str, int] = {}
"""Descriptors of the local folders that this process has locked, by path."""


def job_key(**identity: Any) -> str:  # JSON-able values
    """A hash of everything a result depends on: 16 hexadecimal digits."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def now() -> str:
    """The present time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def claim(folder: str, key: str, *, overwrite: bool = False) -> dict[str, Any] | None:
    """Makes `folder` the output of the job `key`, or finds that it already is.

    An empty or new folder is marked with the key before anything is written to it. A
    folder of the same job that is unfinished, or that lost files, is freed of what
    killed writers left and is to be completed. Until `finish` or the end of this
    process no other process can claim a local folder; on S3 that is not prevented.

    Returns:
        The manifest if the job is finished and its files are there, else None.

    Raises:
        FileExistsError: The folder holds another job's output and `overwrite` is
            false, or files of no job, or another process works on it.
        ValueError: The manifest is damaged.
    """
    _lock(folder)
    try:
        done = _claim(folder, key, overwrite)
    except BaseException:
        _unlock(folder)
        raise
    if done is not None:
        _unlock(folder)
    return done


def finish(folder: str, key: str, **content: Any) -> dict[str, Any]:  # JSON-able
    """Writes the manifest, last of all files, and returns it.

    Args:
        folder: The folder that `claim` marked.
        key: Its job key.
        **content: What DESIGN asks of a manifest: inputs, model, config, rows_in,
            rows_out, rows_quarantined, files (from `describe`) and what else is known.
    """
    claimed = storage.read_json(storage.join(folder, CLAIM))
    if claimed["job_key"] != key:
        raise FileExistsError(
            f"{folder}: was taken over by another job ({claimed['job_key']}) before "
            f"this one ({key}) ended; name another output folder"
        )
    manifest = {
        "job_key": key,
        **content,
        "chainrule": version("chainrule"),
        "started": claimed["started"],
        "finished": now(),
    }
    # Workers may outlive a killed driver and leave files after the next one's claim.
    storage.delete_unfinished(folder)
    storage.write_json(storage.join(folder, MANIFEST), manifest)
    storage.delete(storage.join(folder, CLAIM))
    _unlock(folder)
    return manifest


def describe(folder: str, name: str, rows: int) -> dict[str, Any]:
    """A manifest's entry for the file `name` in `folder`."""
    return entry(storage.join(folder, name), name, rows)


def entry(path: str, name: str, rows: int) -> dict[str, Any]:
    """The entry for the file `name` whose content stands at `path` now."""
    return {
        "path": name,
        "rows": rows,
        "bytes": storage.size(path),
        "sha256": storage.checksum(path),
    }


def missing(folder: str, manifest: dict[str, Any]) -> list[str]:
    """The files of a manifest that are not in `folder`, or not with their size."""
    sizes = storage.sizes(folder)
    return [
        entry["path"]
        for entry in manifest.get("files", [])
        if sizes.get(entry["path"]) != entry["bytes"]
    ]


def _claim(folder: str, key: str, overwrite: bool) -> dict[str, Any] | None:
    """`claim`, in a folder that is locked."""
    done = _read(folder, MANIFEST, overwrite)
    claimed = _read(folder, CLAIM, overwrite)
    if done is None and claimed is None:
        _refuse_strangers(folder)
    holder = (claimed or done or {"job_key": key})["job_key"]
    if holder != key and not overwrite:
        raise FileExistsError(
            f"{folder}: holds the output of another job ({holder}), this one is "
            f"{key}; name another output folder or pass --overwrite"
        )
    clearing = holder != key or (claimed or {}).get("clearing", False)
    if done and not clearing and not missing(folder, done):
        return done
    if clearing:
        _clear(folder, key)
    if clearing or claimed is None:
        _mark(folder, key)
    # Now that the claim says that the job is unfinished, its manifest can go.
    storage.delete(storage.join(folder, MANIFEST))
    storage.delete_unfinished(folder)
    return None


def _mark(folder: str, key: str, **more: Any) -> None:  # JSON-able values
    """Writes the claim of the job `key`."""
    claimed = {"job_key": key, "started": now(), **more}
    storage.write_json(storage.join(folder, CLAIM), claimed)


def _clear(folder: str, key: str) -> None:
    """Empties a folder of ours for the job `key`; goes on after a kill in between."""
    _mark(folder, key, clearing=True)
    storage.delete(storage.join(folder, MANIFEST))
    for name in storage.entries(folder):
        if name != CLAIM:
            storage.delete(storage.join(folder, name))


def _read(folder: str, name: str, overwrite: bool) -> dict[str, Any] | None:
    """A manifest or claim, or None where there is none.

    A damaged one counts as another job's if it may be overwritten.
    """
    path = storage.join(folder, name)
    if not storage.exists(path):
        return None
    try:
        content = storage.read_json(path)
        if isinstance(content, dict) and isinstance(content.get("job_key"), str):
            return content
        raise ValueError(f"{path}: damaged, it names no job")
    except ValueError as error:
        if overwrite:
            return {"job_key": "damaged"}
        raise ValueError(
            f"{error}; delete the folder, name another one or pass --overwrite"
        ) from error


def _refuse_strangers(folder: str) -> None:
    """Raises FileExistsError if a folder without manifest and claim holds anything.

    Not even `--overwrite` wipes such a folder: its files are not ours.
    """
    strangers = [
        name
        for name in storage.entries(folder)
        if not name.startswith(storage.TEMPORARY)
    ]
    if strangers:
        raise FileExistsError(
            f"{folder}: holds files of no job, such as {strangers[0]!r}; name an empty "
            "or new output folder"
        )


def _lock(folder: str) -> None:
    """Keeps other processes from claiming a local folder while this one lives.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    filesystem, inner = storage.resolve(folder)
    if not isinstance(filesystem, pafs.LocalFileSystem) or inner in _locks:
        return
    storage.make_folder(folder)
    descriptor = os.open(inner, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            os.close(descriptor)
            raise FileExistsError(
                f"{folder}: another process is at work on it; wait for its end or "
                "stop it, then run again"
            ) from error
        logger.warning("%s: cannot be locked; keep other jobs from it", folder)
    _locks[inner] = descriptor


def _unlock(folder: str) -> None:
    """Lets other processes claim `folder`."""
    descriptor = _locks.pop(storage.resolve(folder)[1], None)
    if descriptor is not None:
        os.close(descriptor)
