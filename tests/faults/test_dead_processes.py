"""A command whose process dies without a word is reported by its supervisor."""

import signal
import subprocess
from pathlib import Path

import pytest

from flows.process import supervisor
from tasks.runtime import memory
from tests.support.processes import start

SUPERVISED = """
import subprocess, sys
from flows.process import report, supervisor

def start_child(arguments, marker):
    whole = subprocess.Popen

    def other(command, **options):
        return whole([sys.executable, "-c", sys.argv[1]], **options)

    subprocess.Popen = other
    try:
        return begin(arguments, marker)
    finally:
        subprocess.Popen = whole

begin, supervisor.start_child = supervisor.start_child, start_child
sys.exit(supervisor.supervise([], lambda text, log: print(text, log, sep="|")))
"""

CHILD = """
import os, pathlib, signal, sys
from flows.process import report
report.tell_log(pathlib.Path("/logs/a.log"))
"""


def supervise(child: str) -> tuple[int, str]:
    """Supervise a program; return the exit code and what was said about it."""
    with start(SUPERVISED, CHILD + child) as process:
        printed = process.communicate(timeout=60)[0]
    return process.returncode, printed.strip()


@pytest.mark.parametrize(
    ("child", "code", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "was killed (SIGKILL)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, "crashed (SIGSEGV)"),
        # So does Ray's library when the raylet is gone.
        ("os._exit(1)", 1, "such as one of Ray's, has ended"),
    ],
)
def test_a_silent_death_is_told_with_the_log_and_what_to_do(
    child: str, code: int, message: str
) -> None:
    found, printed = supervise(child)
    assert found == code
    assert message in printed
    assert "give the same command again" in printed
    assert printed.endswith("|/logs/a.log")


@pytest.mark.parametrize("child", ["report.tell_end(); sys.exit(3)", "os._exit(0)"])
def test_a_command_that_ends_by_itself_has_said_all(child: str) -> None:
    assert supervise(child)[1] == ""


def test_descendants_do_not_report_in_place_of_the_command() -> None:
    program = "from flows.process import report; report.tell_end()"
    child = f"""
import subprocess
subprocess.run([sys.executable, "-c", {program!r}], close_fds=False, check=True)
os._exit(1)
"""
    assert "has ended" in supervise(child)[1]


def test_want_of_memory_is_told_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.events").write_text("low 0\nmax 7\noom 2\noom_kill 1\n")
    (tmp_path / "memory.max").write_text(f"{3 * 2**29}\n")
    assert memory.killed_count(tmp_path) == 1
    assert memory.limit(tmp_path) == 3 * 2**29
    monkeypatch.setattr(memory, "limit", lambda: 3 * 2**29)
    message = supervisor.describe_death(-signal.SIGKILL, out_of_memory=True)
    assert "the memory limit of 1.5 GiB was reached" in message


def test_a_system_that_tells_nothing_of_memory(tmp_path: Path) -> None:
    assert memory.killed_count(tmp_path, machine=tmp_path / "none") == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 3\n")
    assert memory.killed_count(tmp_path, machine=tmp_path / "vmstat") == 3
    assert memory.limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.limit(tmp_path) is None


@pytest.mark.parametrize("line", ["0::/a/b", "9:cpu,memory:/a/b"])
def test_the_limit_of_a_group_may_be_that_of_an_outer_one(
    line: str, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(f"3:cpuset:/other\n{line}\n")
    version = "memory" if "memory" in line else "."
    inner = tmp_path / version / "a" / "b"
    inner.mkdir(parents=True)
    name = "memory.limit_in_bytes" if "memory" in line else "memory.max"
    (inner / name).write_text("900\n")
    (inner.parent / name).write_text("700\n")
    assert memory.limit(tmp_path, tmp_path / "own") == 700


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
def test_a_child_that_is_interrupted_while_it_starts_says_so(delay: float) -> None:
    code = f"""
import os, signal, sys, time
from flows.process import supervisor
child, _ = supervisor.start_child(["score", "none.yaml"], "test-interrupt")
time.sleep({delay})
child.send_signal(signal.SIGINT)
print(child.wait())
"""
    with start(code, error=subprocess.PIPE) as process:
        printed, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert printed.strip() in ("130", "2")  # 2 if it was faster: there is no file


def test_an_interruption_during_the_imports_is_one_line() -> None:
    code = """
import os, signal
from flows.process import interrupts
with interrupts.end_quietly():
    os.kill(os.getpid(), signal.SIGINT)
"""
    with start(code) as process:
        assert process.wait(timeout=20) == 130
