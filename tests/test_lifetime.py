"""No process outlives its command, and one command at a time writes an output."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import lifetime, watchdog

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
HOLDER = """
import sys, time, pathlib
from flows import lifetime
with lifetime.hold(pathlib.Path(sys.argv[1])) as lock:
    lock.record("run-1")
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: str, marker: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | ({watchdog.VARIABLE: marker} if marker else {}),
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("table", [watchdog.from_proc, watchdog.from_ps])
def test_a_process_is_known_by_what_it_inherited(
    table: Callable[[], dict[int, tuple[int, str]]], tmp_path: Path
) -> None:
    with start(SLEEP, marker=tmp_path.name + "-marker") as process:
        try:
            parent, environment = table()[process.pid]
            assert parent == os.getpid()
            assert f"{watchdog.VARIABLE}={tmp_path.name}-marker" in environment
        finally:
            process.kill()


@pytest.mark.parametrize("code", [SLEEP, STUBBORN, PARENT])
def test_the_watchdog_ends_what_is_marked_and_its_descendants(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "GRACE", 0.5)
    marker = f"test-{len(code)}"
    with start(code, marker=marker) as process, start(SLEEP) as bystander:
        expected = 2 if code == PARENT else 1
        wait_for(lambda: len(watchdog.marked(marker)) == expected)
        if code == STUBBORN:
            time.sleep(0.5)  # Until it ignores SIGTERM.
        watchdog.end(marker)
        assert process.wait(timeout=5) != 0
        assert watchdog.marked(marker) == set()
        assert bystander.poll() is None
        bystander.kill()


def test_the_watchdog_waits_for_the_end_of_its_pipe() -> None:
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", watchdog.__file__, "test-pipe"],
        stdin=subprocess.PIPE,
    )
    with start(SLEEP, marker="test-pipe") as process:
        time.sleep(0.5)
        assert process.poll() is None
        guard.communicate(timeout=10)
        assert process.wait(timeout=5) == -signal.SIGTERM


def test_one_command_at_a_time_holds_an_output(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "a.lock"
    with start(HOLDER, str(lock)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BlockingIOError, match="another chainrule command"),
            lifetime.hold(lock),
        ):
            pass
        holder.kill()


def test_the_next_holder_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with (
        start(SLEEP, marker="test-left") as leftover,
        start(HOLDER, str(lock), marker="test-left") as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait(timeout=5)
        with lifetime.hold(lock) as held:
            assert leftover.wait(timeout=5) == -signal.SIGTERM
            assert held.dead_flow_runs == ["run-1"]
            held.forget_dead()
        with lifetime.hold(lock) as held:
            assert held.dead_flow_runs == []


def test_dead_flow_runs_are_kept_until_they_are_marked(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text('{"marker": null, "flow_runs": ["run-1"]}')
    with pytest.raises(RuntimeError), lifetime.hold(lock):
        raise RuntimeError("before they were marked")
    with lifetime.hold(lock) as held:
        assert held.dead_flow_runs == ["run-1"]
