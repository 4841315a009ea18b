"""Locks on local files and folders, released by the system when a process ends."""

import fcntl
import os
from pathlib import Path


def acquire(path: str | Path, *, wait: bool = False) -> int:
    """Lock a local file or folder for this process.

    Closing the descriptor releases the lock; so does the end of the process, however it
    ends.

    Args:
        path: Existing folder, or a file, which is created if it is missing.
        wait: Whether to wait for a process that holds the lock.

    Returns:
        The open file descriptor that holds the lock.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file system has no locks.
    """
    flags = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
