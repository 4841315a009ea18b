"""Kinds of faults that concern a whole command: its processes and its state."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from flows.process import reaper
from tests.support import faults
from tests.support.injections import DAMAGE, small_disk
from tests.support.pipeline import Pipeline
from tests.support.trial import CORRUPTION, HAND, HANG, LEFT, UNCLEAR, Judgement

COMMANDS = ("score", "sample")
"""Commands that faults are injected into."""

ALLOWANCE = 60.0
"""Seconds that a command may take longer after a fault."""

END_SECONDS = 30.0
"""Seconds after the end of a command within which all its processes end."""

VICTIMS = {
    "a worker of Ray": "ray::",
    "the raylet": "/raylet/raylet",
    "the GCS of Ray": "gcs_server",
    "an agent of Ray": "agent",
    "the server of Prefect": "uvicorn",
}
"""Text in the command line of each process to kill, by the name of the process."""


@dataclass
class CommandTrial(Judgement):
    """A command that a fault is injected into.

    Attributes:
        pipeline: Where the command runs, with a registered model.
        command: Name of the command.
        output: Folder of the results.
        expected: Parts that the command writes undisturbed, by name.
        seconds: Seconds that it takes undisturbed.
        rng: Source of the details of the fault.
    """

    pipeline: Pipeline
    command: str
    output: Path
    expected: dict[str, bytes]
    seconds: float
    rng: np.random.Generator

    def run(
        self,
        disturb: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
        *,
        silent: bool = False,
    ) -> bool:
        """Run the command, judge how it ends, and return whether it finished.

        Args:
            disturb: Called with the process of the command when it has started.
            silent: Whether the command cannot say anything, since it is killed.
        """
        log = self.pipeline.folder / "output.txt"
        said_before = log.stat().st_size if log.exists() else 0
        arguments = [] if self.command == "prepare" else ["--output", str(self.output)]
        process = self.pipeline.start(self.command, *arguments)
        try:
            disturb(process)
            code = process.wait(timeout=2 * self.seconds + ALLOWANCE)
        except subprocess.TimeoutExpired:
            self.judge(HANG, f"no end {ALLOWANCE:.0f} s later than undisturbed")
            return False
        finally:
            if process.poll() is None:
                self.pipeline.kill(process, everything=True)
        self.judge_processes()
        if code == 0:
            self.story.append("finished")
            return True
        said = log.read_bytes()[said_before:].decode(errors="replace")
        if not silent:
            self.judge_output(code, said)
        return False

    def judge_processes(self) -> None:
        """Judge the processes that the command, which has ended, has left."""
        deadline = time.monotonic() + END_SECONDS
        while left := self.pipeline.alive():
            if time.monotonic() > deadline:
                self.judge(LEFT, f"left {names_of(left)}")
                reaper.send_signal(left, signal.SIGKILL)
                return
            time.sleep(0.1)

    def judge_output(self, code: int, said: str) -> None:
        """Judge what a failed command has said: one line about the error."""
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        interrupted = "chainrule: interrupted before it started"
        if code == 128 + signal.SIGINT and interrupted in said:
            lines.append(interrupted)
        if len(lines) == 1 and "Traceback" not in said:
            self.judge_message(lines[0].removeprefix("error: "))
        else:
            self.judge(UNCLEAR, f"exit code {code}: {said[-600:]!r}")

    def repeat(self) -> None:
        """Give the command again: it must finish with the same parts."""
        self.named = ""
        if not self.run():
            self.judge(HAND, "the same command does not finish")
        elif faults.parts_of(self.output) != self.expected:
            self.judge(CORRUPTION, "other parts")


def names_of(pids: set[int]) -> str:
    """Return the names of processes."""
    return ", ".join(process.name() for process in running(pids))


def running(pids: set[int]) -> list[psutil.Process]:
    """Return the processes that are still there."""
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


def command_line(process: psutil.Process) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_victim(trial: CommandTrial, text: str) -> None:
    """Kill a process of the command, a while after it has appeared."""

    def disturb(process: subprocess.Popen[bytes]) -> None:
        found: list[psutil.Process] = []
        while not found and process.poll() is None:
            processes = running(trial.pipeline.alive())
            found = [each for each in processes if text in command_line(each)]
            time.sleep(0.02)
        time.sleep(float(trial.rng.uniform(0.0, 3.0)))
        for each in found[:1]:
            trial.story.append(f"killed {command_line(each)[:60]}")
            reaper.send_signal([each.pid], signal.SIGKILL)

    trial.run(disturb)


def kill_child(trial: CommandTrial) -> None:
    """Kill the supervised process of the command."""

    def disturb(process: subprocess.Popen[bytes]) -> None:
        wait_a_while(trial)
        for child in psutil.Process(process.pid).children():
            if "chainrule_entry" in command_line(child):
                reaper.send_signal([child.pid], signal.SIGKILL)

    trial.run(disturb)


def kill_command(trial: CommandTrial) -> None:
    """Kill the process of the command, which can say nothing then."""

    def disturb(process: subprocess.Popen[bytes]) -> None:
        wait_a_while(trial)
        process.kill()

    trial.run(disturb, silent=True)


def interrupt_early(trial: CommandTrial) -> None:
    """Interrupt the command within its first seconds, as Ctrl-C does."""

    def disturb(process: subprocess.Popen[bytes]) -> None:
        time.sleep(float(trial.rng.uniform(0.05, 3.0)))
        process.send_signal(signal.SIGINT)

    trial.named = "interrupted"
    trial.run(disturb)


def wait_a_while(trial: CommandTrial) -> None:
    """Wait for a random part of the time that the command takes."""
    time.sleep(float(trial.rng.uniform(0.05, 0.9)) * trial.seconds)


def damage_locks(trial: CommandTrial) -> None:
    """Damage all lock files of the state."""
    trial.run()
    damage = DAMAGE[int(trial.rng.integers(len(DAMAGE)))]
    for path in (trial.pipeline.storage / "locks").glob("*.lock"):
        if path.stat().st_size:
            damage(path)


def fill_state(trial: CommandTrial) -> None:
    """Prepare rows with a state on a disk that is full, then make room."""
    pipeline = Pipeline(trial.output.parent / "full")
    pipeline.storage.mkdir()
    own = CommandTrial(
        pipeline, "prepare", pipeline.storage, {}, trial.seconds, trial.rng
    )
    size = int(2 ** trial.rng.uniform(16, 24))
    with small_disk(pipeline.storage, size) as enlarge:
        own.run()
        enlarge()
        if not own.run():
            own.judge(HAND, "the same command does not finish")
    trial.story += [f"{size} bytes", *own.story]
    trial.verdicts += own.verdicts


@dataclass(frozen=True)
class ProcessKind:
    """A kind of fault that concerns a whole command.

    Attributes:
        name: What happens.
        inject: Disturbs the command of a trial.
    """

    name: str
    inject: Callable[[CommandTrial], None]


PROCESS_KINDS = (
    *(
        ProcessKind(f"{name} killed", partial(kill_victim, text=text))
        for name, text in VICTIMS.items()
    ),
    ProcessKind("the process of the command killed", kill_child),
    ProcessKind("the command killed", kill_command),
    ProcessKind("the command interrupted early", interrupt_early),
    ProcessKind("the lock files damaged", damage_locks),
    ProcessKind("the disk of the state full", fill_state),
)
"""Kinds of faults that concern a whole command."""
