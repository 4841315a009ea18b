"""Tests of Ray actors: loading, waiting, and what replaces a dead one."""

import os
import signal
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

from tasks.runtime import actors, cluster

pytestmark = pytest.mark.usefixtures("ray")

# Functions that go to workers are closures: workers cannot import test modules.


def test_an_exception_in_making_an_actor_keeps_its_type() -> None:
    def make() -> Callable[[int], int]:
        raise FileNotFoundError("model.json is not there")

    with pytest.raises(FileNotFoundError) as caught:
        list(cluster.stream_actors(make, range(3), what="make: items"))
    assert str(caught.value) == "model.json is not there"


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


def test_gpus_that_are_not_there_are_named() -> None:
    said = r"resources\.gpus_per_process is 0\.5, but the cluster has no GPU"
    with pytest.raises(ValueError, match=said):
        list(cluster.stream_actors(lambda: abs, [1], what="none: items", gpus=0.5))


def test_others_make_the_calls_of_an_actor_that_is_not_replaced(
    tmp_path: Path,
) -> None:
    class Other:
        def here(self) -> bool:
            return True

    other: list[Any] = []

    def make() -> Callable[[int], int]:
        (tmp_path / f"process-{os.getpid()}").touch()

        def call(item: int) -> int:
            deadline = time.monotonic() + 60
            while len(list(tmp_path.glob("process-*"))) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if item == 0 and not (tmp_path / "died").exists():
                while not (tmp_path / "other").exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return item

        return call

    results: Future[list[int]] = Future()

    def work() -> None:
        found = cluster.stream_actors(make, range(8), what="copy: items")
        results.set_result(list(found))

    threading.Thread(target=work, daemon=True).start()
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("process-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # It waits for the processor of the actor that dies, and is not the last to do so.
    other.append(ray.remote(num_cpus=1)(Other).remote())
    taken = other[0].here.remote()
    (tmp_path / "other").touch()
    try:
        assert results.result(timeout=60) == list(range(8))
        assert ray.get(taken)
    finally:
        ray.kill(other[0])


def test_all_actors_of_a_pool_are_used_when_the_first_waits() -> None:
    class Other:
        def here(self) -> bool:
            return True

    def make() -> Callable[[int], int]:
        return lambda item: item

    results: Future[list[int]] = Future()
    with actors.actor_pool() as pool:
        ask = partial(cluster.stream_actors, make, what="copy: items", pool=pool)
        assert list(ask(range(4))) == list(range(4))
        ray.kill(pool.workers[0])
        other: Any = ray.remote(num_cpus=1)(Other).remote()
        assert ray.get(other.here.remote(), timeout=60)
        work = threading.Thread(
            target=lambda: results.set_result(list(ask([7]))), daemon=True
        )
        work.start()
        try:
            assert results.result(timeout=60) == [7]
        finally:
            ray.kill(other)


def test_a_process_that_dies_between_two_passes_is_replaced() -> None:
    def make() -> Callable[[int], int]:
        return lambda item: os.getpid()

    with actors.actor_pool() as pool:
        first = cluster.stream_actors(make, range(8), what="ask: items", pool=pool)
        pids = set(first)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        again = cluster.stream_actors(make, range(8), what="ask: items", pool=pool)
        assert pids.isdisjoint(again)
