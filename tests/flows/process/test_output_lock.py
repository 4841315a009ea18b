"""Tests of output locks: one writer at a time, and cleaning up after a killed one."""

import signal
from pathlib import Path

import pytest

from flows.process.output_lock import hold_output
from tests.support.processes import SLEEP, start

HOLDER = """
import sys, time, pathlib
from flows.process.output_lock import hold_output
with hold_output(pathlib.Path(sys.argv[1])) as lock:
    lock.record("run-1")
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_command_at_a_time_holds_an_output(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    with start(HOLDER, str(path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BlockingIOError, match="another chainrule command"),
            hold_output(path),
        ):
            pass
        holder.kill()


def test_the_next_holder_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        start(SLEEP, marker="test-left") as leftover,
        start(HOLDER, str(path), marker="test-left") as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait(timeout=5)
        with hold_output(path) as lock:
            assert leftover.wait(timeout=5) == -signal.SIGTERM
            assert lock.dead_flow_runs == ["run-1"]
            lock.forget_dead()
        with hold_output(path) as lock:
            assert lock.dead_flow_runs == []


def test_dead_flow_runs_are_recorded_until_they_are_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text('{"marker": null, "flow_runs": ["run-1"]}')
    with pytest.raises(RuntimeError), hold_output(path):
        raise RuntimeError("before they were marked")
    with hold_output(path) as lock:
        assert lock.dead_flow_runs == ["run-1"]


def test_what_was_finished_is_known_until_the_next_holder_starts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.lock"
    with hold_output(path) as lock:
        assert lock.finished == ""
        lock.finished = "digest"
    with pytest.raises(RuntimeError), hold_output(path) as lock:
        assert lock.finished == "digest"
        raise RuntimeError("before it finished")
    with hold_output(path) as lock:
        assert lock.finished == ""
