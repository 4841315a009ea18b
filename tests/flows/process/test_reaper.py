"""Tests of the reaper: which processes it finds, and that it ends them all."""

import signal
import time

import pytest

from flows.process import reaper, supervisor
from tests.support.processes import SLEEP, start, wait_for

STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"


@pytest.mark.parametrize("code", [SLEEP, STUBBORN, PARENT])
def test_marked_processes_and_their_descendants_are_ended(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "GRACE_SECONDS", 0.5)
    marker = f"test-{len(code)}"
    with start(code, marker=marker) as process, start(SLEEP) as bystander:
        expected = 2 if code == PARENT else 1
        wait_for(lambda: len(reaper.marked_processes(marker)) == expected)
        if code == STUBBORN:
            time.sleep(0.5)  # Until it ignores SIGTERM.
        reaper.end_processes(marker)
        assert process.wait(timeout=5) != 0
        assert reaper.marked_processes(marker) == set()
        assert bystander.poll() is None
        bystander.kill()


def test_a_descendant_without_the_marker_is_ended() -> None:
    parent = "import subprocess; subprocess.run(['sleep', '60'], env={})"
    with start(parent, marker="test-descendant") as process:
        wait_for(lambda: len(reaper.marked_processes("test-descendant")) == 2)
        reaper.end_processes("test-descendant")
        assert process.wait(timeout=5) == -signal.SIGTERM


def test_a_process_that_shows_no_environment_at_first_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marker = "test-late"
    seen: list[set[int]] = []
    look = reaper.marked_processes

    def overlook_once(marker: str) -> set[int]:
        seen.append(look(marker) if seen else set())
        return seen[-1]

    monkeypatch.setattr(reaper, "marked_processes", overlook_once)
    with start(SLEEP, marker=marker) as process:
        wait_for(lambda: look(marker) == {process.pid})
        reaper.end_processes(marker)
        assert process.wait(timeout=5) == -signal.SIGTERM


def test_a_command_without_good_order_is_watched_for_the_grace_period() -> None:
    program = "from flows.process import reaper; print(reaper.GRACE_SECONDS)"
    with start(program) as process:
        grace = float(process.communicate()[0])
    began = time.monotonic()
    supervisor.start_reaper("test-killed").communicate(timeout=60)
    assert time.monotonic() - began >= grace


def test_the_reaper_waits_for_the_end_of_its_pipe() -> None:
    reaping = supervisor.start_reaper("test-pipe")
    with start(SLEEP, marker="test-pipe") as process:
        time.sleep(0.5)
        assert process.poll() is None
        reaping.communicate(timeout=10)
        assert process.wait(timeout=5) == -signal.SIGTERM
