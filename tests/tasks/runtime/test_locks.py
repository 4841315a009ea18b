"""Tests of locks on local files and folders."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.runtime import locks
from tests.support.processes import start

HOLDER = """
import sys, time
from tasks.runtime import locks
locks.acquire(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def hold(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    with start(HOLDER, str(path), str(seconds)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


@pytest.mark.parametrize("name", ["file.lock", "."])
def test_a_lock_excludes_others_until_its_process_ends(
    tmp_path: Path, name: str
) -> None:
    with hold(tmp_path / name, 60) as holder:
        with pytest.raises(BlockingIOError):
            locks.acquire(tmp_path / name)
        holder.kill()
    os.close(locks.acquire(tmp_path / name))


def test_a_process_can_wait_for_a_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "file.lock", 0.2) as holder:
        os.close(locks.acquire(tmp_path / "file.lock", wait=True))
        assert holder.wait(timeout=5) == 0
