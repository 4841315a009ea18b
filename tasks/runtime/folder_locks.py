"""Claims of this process on directories of results, local ones and those in S3.

The system releases the lock on a local directory when this process ends; a lease on a
folder in S3 expires.
"""

import errno
import logging
import os

import pyarrow.fs as pafs

from tasks.runtime import leases, locks, storage

logger = logging.getLogger(__name__)

_locks: dict[str, int] = {}
"""File descriptors of the local directories that this process has locked, by path."""

_leases: dict[str, leases.Lease] = {}
"""Leases of this process on folders in S3, by path."""


def acquire(folder: str) -> None:
    """Keep other processes from claiming a directory while this one lives.

    Args:
        folder: The directory, local or S3.

    Raises:
        FileExistsError: Another process has claimed it.
    """
    filesystem, inner = storage.resolve(folder)
    if isinstance(filesystem, pafs.S3FileSystem):
        _lease(folder, inner)
        return
    if not isinstance(filesystem, pafs.LocalFileSystem) or inner in _locks:
        return
    storage.make_folder(folder)
    try:
        _locks[inner] = locks.acquire(inner)
    except BlockingIOError as error:
        raise FileExistsError(
            f"{folder}: another process is writing to it; wait for it to end or stop "
            "it, then run again"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
        logger.warning(
            "%s: its file system has no locks; run only one job there at a time", folder
        )


def _lease(folder: str, inner: str) -> None:
    """Keep other processes from claiming a folder in S3 while this one lives.

    Args:
        folder: URI of the folder.
        inner: Its bucket and path.
    """
    known = _leases.get(inner)
    if known is not None and not known.lost.is_set():
        return
    try:
        found = leases.acquire(folder)
    except BlockingIOError as error:
        raise FileExistsError(
            f"{error}, which is writing to it; wait for it to end or stop it, then run "
            "again"
        ) from error
    if found is not None:
        _leases[inner] = found


def check(folder: str) -> None:
    """Raise FileExistsError if another process has taken over a folder in S3."""
    if lease := _leases.get(storage.resolve(folder)[1]):
        lease.check()


def release(folder: str) -> None:
    """Let other processes claim a directory."""
    inner = storage.resolve(folder)[1]
    if lease := _leases.pop(inner, None):
        lease.release()
    descriptor = _locks.pop(inner, None)
    if descriptor is not None:
        os.close(descriptor)
