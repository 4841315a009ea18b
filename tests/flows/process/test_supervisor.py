"""Tests of supervised processes: nothing outlives them, signals are passed on."""

import os
import signal
import subprocess
import sys

import pytest

from flows.process import supervisor
from tests.support.processes import SLEEP, start

BLOCK = """
import subprocess, sys
from flows.process import supervisor
with supervisor.reaped():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
assert child.wait() == -15
"""


def test_a_process_is_supervised_by_its_parent_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "from flows.process import supervisor; print(supervisor.is_supervised())"
    for parent, answer in ((os.getpid(), "True"), (1234567, "False")):
        monkeypatch.setenv(supervisor.SUPERVISOR_VARIABLE, str(parent))
        with start(code) as process:
            assert process.communicate()[0].strip() == answer


def test_processes_end_with_the_block_that_started_them() -> None:
    with start(BLOCK) as process:
        assert process.wait(timeout=20) == 0


def test_a_child_is_killed_if_it_does_not_end_after_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "INTERRUPT_SECONDS", 0.1)
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    assert supervisor.wait(child, [signal.SIGINT]) == -signal.SIGKILL


def test_a_supervised_command_has_the_exit_code_of_its_child() -> None:
    code = (
        "import sys; from flows.process import supervisor\n"
        "sys.exit(supervisor.supervise(['retrain', '--nonsense'], print))"
    )
    with start(code) as process:
        assert process.wait(timeout=60) == 2
