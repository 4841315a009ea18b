"""Parallel calls: order, bounds, errors, deaths and threads."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from pydantic import ValidationError

from tasks.config.resources import Resources
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


def test_connecting_twice_is_harmless() -> None:
    cluster.connect(Resources())
    assert cluster.cpu_count() == 2


def test_progress_counts_units_up_to_their_total(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="tasks.runtime.cluster"):
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


def test_an_exception_in_making_an_actor_keeps_its_type() -> None:
    def make() -> Callable[[int], int]:
        raise FileNotFoundError("model.json is not there")

    with pytest.raises(FileNotFoundError) as caught:
        list(cluster.stream_actors(make, range(3), what="make: items"))
    assert str(caught.value) == "model.json is not there"


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


def test_actors_load_once_and_have_one_thread(tmp_path: Path) -> None:
    def make(loads: int) -> Callable[[int], tuple[int, int]]:
        (tmp_path / str(os.getpid())).touch()

        def call(item: int) -> tuple[int, int]:
            deadline = time.monotonic() + 60  # until the others have loaded, too
            while len(list(tmp_path.iterdir())) < loads:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return os.getpid(), torch.get_num_threads()

        return call

    one, three = partial(make, 1), partial(make, 3)
    alone = list(cluster.stream_actors(one, range(6), what="load: items", actors=1))
    assert len(set(alone)) == 1
    both = list(cluster.stream_actors(three, range(6), what="load: items"))
    assert {threads for _, threads in alone + both} == {1}
    assert len({pid for pid, _ in both}) == 2
    assert len(list(tmp_path.iterdir())) == 3


def run(form: str, function: Callable[[int], int], items: range) -> Any:
    """Call a function on every item in tasks or in actors."""
    if form == "tasks":
        return cluster.stream(function, items, what="run: items")
    return cluster.stream_actors(lambda: function, items, what="run: items")


def test_work_goes_on_while_another_job_holds_a_processor() -> None:
    class Other:
        def here(self) -> bool:
            return True

    other: Any = ray.remote(num_cpus=1)(Other).remote()
    assert ray.get(other.here.remote())
    results: Future[list[int]] = Future()

    def work() -> None:
        # Two actors are wanted, of which one cannot come.
        found = cluster.stream_actors(
            lambda: lambda item: item * item, range(6), what="square: items"
        )
        results.set_result(list(found))

    threading.Thread(target=work, daemon=True).start()
    try:
        assert results.result(timeout=60) == [i * i for i in range(6)]
    finally:
        ray.kill(other)


LENT = """
import ray, torch
from tasks.runtime import cluster
from tasks.config.resources import Resources

ray.init("local", num_cpus=3, num_gpus=1, include_dashboard=False)

def where():
    import ray
    from tasks.runtime import cluster
    given = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return lambda item: (given, cluster.device().type)

assert cluster.ActorPool(0.5).capacity() == 2
assert cluster.ActorPool(0.25).capacity() == cluster.ActorPool().capacity() == 3
assert cluster.ActorPool(1).capacity() == 1
assert cluster.device() == torch.device("cpu")
for gpus, expected in ((0, ([], "cpu")), (0.5, (["0"], "cuda"))):
    try:
        found = list(
            cluster.stream_actors(where, range(4), what="ask: items", gpus=gpus)
        )
        assert found == [expected] * 4, found
    except RuntimeError as error:
        assert gpus and not torch.cuda.is_available()
        print(error)
"""


def test_a_process_computes_on_the_gpu_that_it_was_given() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LENT],
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    if not torch.cuda.is_available():
        said = "Ray assigned GPU 0 to this process, but torch "
        assert done.stdout.startswith(f"{said}{torch.__version__} finds none")
        assert "gpus_per_process: 0" in done.stdout


def test_gpus_that_are_not_there_are_named() -> None:
    said = r"resources\.gpus_per_process is 0\.5, but the cluster has no GPU"
    with pytest.raises(ValueError, match=said):
        list(cluster.stream_actors(lambda: abs, [1], what="none: items", gpus=0.5))


@pytest.mark.parametrize("gpus", [-1, 1.5, 0.00001])
def test_a_process_computes_on_one_gpu_at_most(gpus: float) -> None:
    with pytest.raises(ValidationError, match="gpus_per_process"):
        Resources(gpus_per_process=gpus)
