"""Kinds of faults, each of which disturbs a job of a trial.

Each function runs the job under a fault, restores what lies outside the job's output
(its dataset, its model, the disk), and returns. Then the same job must finish with the
results of an undisturbed one.
"""

import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from flows.process.output_lock import hold_output
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import fragments
from tasks.data.prepare import PrepareResult, prepare
from tasks.runtime import manifest, storage
from tests.support import faults
from tests.support.fault_jobs import (
    JOBS,
    MODEL_USERS,
    READERS,
    Workspace,
    acting_at,
    results_of,
    rows_of_results,
)
from tests.support.faults import Fault
from tests.support.local_jobs import local_jobs
from tests.support.training import all_weights, continue_run, write_run
from tests.support.trial import CORRUPTION, HAND, Trial

ANY_JOB = tuple(JOBS)
"""Names of all jobs."""

DAMAGE: tuple[Fault, ...] = (
    faults.flip,
    faults.zero,
    faults.cut,
    faults.empty,
    faults.make_binary,
    faults.delete,
)
"""Kinds of damage to a file."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: What happens.
        jobs: Names of the jobs that it can happen to.
        inject: Disturbs the job of a trial.
        repeats: Whether the same job is given again afterwards.
    """

    name: str
    jobs: tuple[str, ...]
    inject: Callable[[Trial], None]
    repeats: bool = True


def change_input(trial: Trial, change: Fault) -> None:
    """Change the dataset before one of the reads of the job, and put it back later."""
    trial.named = "rows.parquet"
    trial.space = trial.space.keyed()  # Another input makes another job.
    file = trial.space.file
    original, number = (
        file.read_bytes(),
        int(trial.rng.integers(trial.undisturbed.reads)),
    )
    with acting_at(fragments, "_iter_tables", number, lambda: change(file)):
        trial.run()
    if trial.rng.random() < 0.5:
        # With what is there now: another job, or an unreadable file.
        trial.named = ""
        trial.attempt(lambda: JOBS[trial.job](trial.space))
    faults.put_back(file, original)


def add_file(trial: Trial) -> None:
    """Add a file to the dataset while the job runs, and take it away again."""
    added = trial.space.source / "added.parquet"

    def add() -> None:
        pq.write_table(faults.rows_of(seed=5), added)

    number = int(trial.rng.integers(trial.undisturbed.reads))
    with acting_at(fragments, "_iter_tables", number, add):
        trial.run()
    added.unlink()


def damage_page(trial: Trial) -> None:
    """Flip a bit of a page of the dataset, which has checksums of its pages."""
    trial.named = "rows.parquet"
    trial.space = trial.space.keyed()  # Another input makes another job.
    original = trial.space.file.read_bytes()
    faults.flip(trial.space.file, float(trial.rng.uniform(0.02, 0.75)))
    trial.attempt(lambda: JOBS[trial.job](trial.space), lambda: check_rows(trial))
    faults.put_back(trial.space.file, original)


def check_rows(trial: Trial) -> None:
    """Judge the rows of another job, which should be those of the undisturbed one.

    The checksum of a page does not cover its header, not all of which matters.
    """
    (folder,) = (trial.space.folder / "output").iterdir()
    expected = rows_of_results(trial.undisturbed.results)
    if rows_of_results(results_of(folder)) != expected:
        trial.judge(CORRUPTION, "a damaged page was read")


def stop_anywhere(trial: Trial) -> None:
    """Interrupt the job before or after it publishes one of its files."""
    number = int(trial.rng.integers(trial.undisturbed.writes))
    with acting_at(storage, "_flush", number, faults.stop):
        trial.run()


def stop_at_the_end(trial: Trial) -> None:
    """Interrupt the job when only its manifest is missing."""
    with acting_at(manifest, "finish", 0, faults.stop):
        trial.run()


def stop_and_damage(trial: Trial, pattern: str, damages: Sequence[Fault]) -> None:
    """Interrupt the job, and damage one of its files that match a pattern."""
    stop = stop_at_the_end if trial.rng.random() < 0.5 else stop_anywhere
    stop(trial)
    damage_one(trial, pattern, damages)


def finish_and_damage(trial: Trial, pattern: str, damages: Sequence[Fault]) -> None:
    """Finish the job, and damage one of its files that match a pattern."""
    trial.run()
    damage_one(trial, pattern, damages)


def damage_one(trial: Trial, pattern: str, damages: Sequence[Fault]) -> None:
    """Damage one file of the output; there may be none."""
    found = files_of(trial.results, pattern)
    if not found:
        return
    path = found[int(trial.rng.integers(len(found)))]
    damage = damages[int(trial.rng.integers(len(damages)))]
    trial.story.append(f"{damage.__name__} {path.relative_to(trial.results)}")
    if damage is faults.flip:
        faults.flip(path, float(trial.rng.random()))
    else:
        damage(path)


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the files of an output that match a pattern, sorted."""
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def lose_and_flip(trial: Trial) -> None:
    """Finish the job, lose one of its parts and flip a bit of another."""
    trial.run()
    damage_one(trial, "part-*", [faults.delete])
    damage_one(trial, "part-*", [faults.flip])


def add_stray_part(trial: Trial) -> None:
    """Put a part that is none of the job's beside its parts, finished or not."""
    if trial.rng.random() < 0.5:
        stop_anywhere(trial)
    else:
        trial.run()
    parts = files_of(trial.results, "part-*.parquet")
    if parts:
        shutil.copy(parts[0], parts[0].with_name("part-00099.parquet"))


def swap_parts(trial: Trial) -> None:
    """Put a part in the place of another one, finished or not."""
    if trial.rng.random() < 0.5:
        stop_at_the_end(trial)
    else:
        trial.run()
    parts = files_of(trial.results, "part-*.parquet")
    one, other = parts[0], parts[-1]
    shutil.copy(one, other)


def damage_model(trial: Trial) -> None:
    """Damage a file of the model before the job, and put it back later."""
    found = files_of(trial.space.model, "*")
    path = found[int(trial.rng.integers(len(found)))]
    trial.named = path.name
    original = path.read_bytes()
    damage = DAMAGE[int(trial.rng.integers(len(DAMAGE)))]
    trial.story.append(f"{damage.__name__} {path.name}")
    damage(path)
    trial.run()
    path.write_bytes(original)


def fill_disk(trial: Trial) -> None:
    """Run the job on a disk that is full before its end, then make room."""
    space = trial.space
    needed = sum(len(content) for content in trial.undisturbed.results.values())
    size = int(needed * trial.rng.uniform(0.05, 0.95)) // 4096 * 4096 + 4096
    trial.space = Workspace(space.folder, space.folder / "disk" / "output")
    trial.named = "no space left"
    (space.folder / "disk").mkdir()
    with small_disk(space.folder / "disk", size) as enlarge:
        trial.run()
        enlarge()
        trial.repeat()
        trial.space = space


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Mount a file system in memory; yield a function that enlarges it.

    Args:
        folder: Where it is mounted.
        size: Its size in bytes.
    """

    def mount(*options: str) -> None:
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            ",".join(options),
            "tmpfs",
            str(folder),
        ]
        subprocess.run(command, check=True, capture_output=True)

    mount(f"size={size}")
    try:
        yield lambda: mount("remount", "size=1g")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def kill_process(trial: Trial) -> None:
    """Run the job in a process of its own, and kill that after a random time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run_in_process, args=(trial.job, trial.space))
    process.start()
    process.join(timeout=float(trial.rng.uniform(0.0, 0.6)))
    process.kill()
    process.join()


def run_in_process(name: str, space: Workspace) -> None:
    """Run a job without Ray in this process."""
    with local_jobs():
        JOBS[name](space)


def kill_and_damage(trial: Trial) -> None:
    """Kill the job's process, and damage one of its files."""
    kill_process(trial)
    damage_one(trial, "*", DAMAGE)


def damage_checkpoints(trial: Trial) -> None:
    """Damage files of checkpoints or their record; training ends with equal weights."""
    folder = trial.space.folder / "run"
    write_run(folder)
    for _ in range(int(trial.rng.integers(1, 4))):
        found = files_of(folder, "*")
        path = found[int(trial.rng.integers(len(found)))]
        damage = DAMAGE[int(trial.rng.integers(len(DAMAGE)))]
        trial.story.append(f"{damage.__name__} {path.relative_to(folder)}")
        damage(path)
    write_run(trial.space.folder / "whole")
    expected = all_weights(continue_run(trial.space.folder / "whole"))
    found_weights: list[torch.Tensor] = []

    def check() -> None:
        if not torch.equal(found_weights[0], expected):
            trial.judge(CORRUPTION, "training ended with other weights")

    work = lambda: found_weights.append(all_weights(continue_run(folder)))  # noqa: E731
    if not trial.attempt(work, check):
        trial.judge(HAND, "training does not go on")


def use_odd_times(trial: Trial) -> None:
    """Prepare rows with a time that Python lacks; no row may be lost."""
    table = faults.rows_of(seed=7)
    times = [datetime(2024, 1, 1 + k % 28) for k in range(table.num_rows)]
    column = pa.array(times, pa.timestamp("us")).cast(pa.int64()).to_pylist()
    year = int(trial.rng.choice([-20_000, -1, 0, 10_000, 250_000]))
    column[int(trial.rng.integers(len(column)))] = (year - 1970) * 31_556_952_000_000
    table = table.append_column("when", pa.array(column).cast(pa.timestamp("us")))
    pq.write_table(table, trial.space.file)
    (trial.space.source / "more.parquet").unlink()
    results: list[PrepareResult] = []
    data = DataConfig(
        path=str(trial.space.source), id=("id",), on_bad_file="quarantine"
    )
    output = str(trial.results)

    def check() -> None:
        rows = sum(results[0].rows.values()) + results[0].rows_quarantined
        if rows != table.num_rows:
            trial.judge(CORRUPTION, f"{rows} of {table.num_rows} rows")

    work = lambda: results.append(prepare(data, output, Resources()))  # noqa: E731
    if not trial.attempt(work, check):
        trial.judge(HAND, f"year {year}")


def damage_lock(trial: Trial) -> None:
    """Damage the lock file of an output; the next command holds it all the same."""
    path = trial.space.folder / "a.lock"
    with hold_output(path) as lock:
        lock.record("a run")
        content = path.read_bytes()
    path.write_bytes(content)
    damage = DAMAGE[int(trial.rng.integers(len(DAMAGE)))]
    damage(path)

    def hold() -> None:
        with hold_output(path):
            pass

    if not trial.attempt(hold):
        trial.judge(HAND, "the lock cannot be held")


CHANGES: dict[str, Fault] = {
    "replaced": faults.rename_over,
    "rewritten": faults.rewrite,
    "rewritten and its time set back": faults.rewrite_within_the_same_time,
    "written in other row groups": faults.regroup,
    "grown": faults.grow,
    "deleted": faults.delete,
    "flipped in one bit": faults.flip,
}
"""Changes of the input while a job reads it."""

STATE = {
    "a part flipped": ("part-*", [faults.flip]),
    "a part damaged": ("part-*", DAMAGE),
    "claim damaged": (manifest.CLAIM, DAMAGE),
    "manifest damaged": (manifest.MANIFEST, DAMAGE),
    "any file damaged": ("*", DAMAGE),
}
"""Pattern of the files of an output that are damaged, and how."""

PREPARED = {
    "encoder damaged": ("encoder.json", DAMAGE),
    "profile damaged": ("profile.json", DAMAGE),
    "receipt damaged": ("*.json", DAMAGE),
}
"""The same for the output of `prepare` alone."""


def state_kinds() -> Iterator[Kind]:
    """Yield the kinds of faults that damage a stopped or finished job's output."""
    for moment, inject in (
        ("interrupted", stop_and_damage),
        ("finished", finish_and_damage),
    ):
        for files, jobs in ((STATE, ANY_JOB), (PREPARED, ("prepare",))):
            for what, (pattern, damages) in files.items():
                if (moment, what) != ("interrupted", "manifest damaged") and (
                    (moment, what) != ("finished", "claim damaged")
                ):
                    act = partial(inject, pattern=pattern, damages=damages)
                    yield Kind(f"{moment}, {what}", jobs, act)


KINDS = (
    *(
        Kind(f"input {name} in use", READERS, partial(change_input, change=change))
        for name, change in CHANGES.items()
    ),
    Kind("input: a file added in use", READERS, add_file),
    Kind("input: a page flipped", READERS, damage_page),
    Kind("input: a time that Python lacks", ("prepare",), use_odd_times, repeats=False),
    Kind("interrupted", ANY_JOB, stop_anywhere),
    Kind("killed", ANY_JOB, kill_process),
    Kind("killed, any file damaged", ANY_JOB, kill_and_damage),
    *state_kinds(),
    Kind("finished, a part lost, another flipped", ANY_JOB, lose_and_flip),
    Kind("a stray part", ANY_JOB, add_stray_part),
    Kind("a part in the place of another", ANY_JOB, swap_parts),
    Kind("model damaged", MODEL_USERS, damage_model),
    Kind("checkpoints damaged", ("train",), damage_checkpoints, repeats=False),
    Kind("lock file damaged", ("any",), damage_lock, repeats=False),
    Kind("disk full", ANY_JOB, fill_disk),
)
"""Kinds of faults that need no processes but one."""
