"""Tests of calls in Ray: order, bounds, errors and deaths."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime import cluster, storage

pytestmark = pytest.mark.usefixtures("ray")

# Functions that go to workers are closures: workers cannot import test modules.


def test_results_come_in_item_order() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.2 if item == 0 else 0)
        return item * item

    results = cluster.stream(slow_first, range(12), what="square: items")
    assert list(results) == [i * i for i in range(12)]


def test_no_items_give_no_results() -> None:
    assert list(cluster.stream(lambda item: item, [], what="none: items")) == []


def test_progress_counts_units_up_to_their_total(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="tasks.runtime.calls"):
        results = cluster.stream(
            lambda item: item,
            [10, 20, 30],
            what="copy: rows",
            units=lambda item: item,
            done=40,
        )
        list(results)
    reports = [record.progress for record in caplog.records]  # type: ignore[attr-defined]
    assert {what for what, _, _ in reports} == {"copy: rows"}
    assert [total for _, _, total in reports] == [100] * 4
    counts = [done for _, done, _ in reports]
    assert counts[0] == 40 and counts[-1] == 100 and counts == sorted(counts)


def test_only_a_few_calls_are_under_way(tmp_path: Path) -> None:
    def start(item: int) -> int:
        (tmp_path / str(item)).touch()
        return item

    results = cluster.stream(start, range(100), what="start: items", parallel=2)
    assert next(results) == 0
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= 4
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["tasks", "actors"])
def test_an_exception_keeps_its_type_and_message(form: str) -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError("flights.parquet: column 'dep_time' is missing")
        return item

    with pytest.raises(ValueError) as caught:
        list(run(form, fail, range(8)))
    assert type(caught.value) is ValueError
    assert str(caught.value) == "flights.parquet: column 'dep_time' is missing"
    assert "raise ValueError" in caught.value.__notes__[0]


def test_a_failure_stops_the_other_calls_and_they_clean_up(tmp_path: Path) -> None:
    def work(item: int) -> int:
        if item == 1:
            while not any(tmp_path.iterdir()):
                time.sleep(0.02)
            raise ValueError("stop")
        with storage.publish(str(tmp_path / f"{item}.txt")) as unfinished:
            unfinished.write_text("half")
            for _ in range(1000):
                time.sleep(0.02)
        return item

    with pytest.raises(ValueError, match="stop"):
        list(cluster.stream(work, range(2), what="work: items"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["tasks", "actors"])
def test_a_call_is_repeated_when_its_worker_dies(form: str, tmp_path: Path) -> None:
    def die_once(item: int) -> int:
        mark = tmp_path / "died"
        if item == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    assert list(run(form, die_once, range(4))) == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()


def test_a_call_that_always_kills_its_worker_is_named() -> None:
    def die(item: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(RuntimeError, match="died 4 times on 7; if memory ran out"):
        list(cluster.stream(die, [7], what="die: items"))


@pytest.mark.slow
def test_a_call_that_runs_out_of_memory_is_not_repeated_for_ever(
    tmp_path: Path,
) -> None:
    program = """
import os, sys, time
from tasks.runtime import environment
environment.configure(sys.argv[1])
from tasks.runtime import cluster
from tasks.config.resources import Resources
# So little memory that everything runs out of it.
os.environ["RAY_memory_usage_threshold"] = "0.001"
os.environ["RAY_memory_monitor_refresh_ms"] = "50"
cluster.connect(Resources(), cpus=1)
try:
    list(cluster.stream(lambda item: time.sleep(100), [7], what="wait: items"))
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert "wait: items: worker processes died 4 times on 7; " in done.stdout


def run(form: str, function: Callable[[int], int], items: range) -> Any:
    """Call a function on every item in tasks or in actors."""
    if form == "tasks":
        return cluster.stream(function, items, what="run: items")
    return cluster.stream_actors(lambda: function, items, what="run: items")
