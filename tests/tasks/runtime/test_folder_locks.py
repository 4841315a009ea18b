"""Tests of the claims of processes on directories of results."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runtime import folder_locks

HOLD = """
import sys
from tasks.runtime import folder_locks
folder_locks.acquire(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_directory_is_claimed_by_one_process_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "output")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FileExistsError, match="another process is writing to it"):
            folder_locks.acquire(str(tmp_path / "output"))
        other.stdin.close()
        other.wait(timeout=20)
        folder_locks.acquire(str(tmp_path / "output"))
        folder_locks.acquire(str(tmp_path / "output"))  # by the same process
        folder_locks.release(str(tmp_path / "output"))
