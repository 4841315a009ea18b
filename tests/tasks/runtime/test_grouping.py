"""Tests of the groups of small items that share a call."""

import os
import signal
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tasks.runtime import cluster
from tasks.runtime.failures import ClusterError
from tasks.runtime.grouping import GROUP_BYTES, GROUP_ITEMS, WaitingItems


def sized(*sizes: int) -> list[SimpleNamespace]:
    """Return items of some sizes in bytes."""
    return [SimpleNamespace(byte_size=size) for size in sizes]


def groups(items: list[SimpleNamespace], parallel: int) -> list[list[int]]:
    """Return all groups of items if every call ends at once."""
    waiting = WaitingItems(items)
    found = []
    while len(waiting):
        found.append(waiting.take(parallel))
    return found


def test_small_items_share_calls_and_come_in_order() -> None:
    found = groups(sized(*[1000] * 10_000), 4)
    assert [i for group in found for i in group] == list(range(10_000))
    assert max(map(len, found)) == GROUP_ITEMS
    assert len(found) < 10_000 / GROUP_ITEMS + 100
    # At the end every worker gets its share.
    assert [len(group) for group in found[-8:]] == [1] * 8


def test_no_call_has_more_bytes_than_a_large_item() -> None:
    sizes = [GROUP_BYTES // 3] * 50 + [5 * GROUP_BYTES] * 3 + [GROUP_BYTES // 3] * 50
    for group in groups(sized(*sizes), 1):
        total = sum(sizes[i] for i in group)
        assert len(group) == 1 or total <= GROUP_BYTES
    assert max(map(len, groups(sized(*sizes), 1))) == 3


def test_items_without_a_size_and_few_items_are_called_alone() -> None:
    assert all(len(g) == 1 for g in groups([SimpleNamespace()] * 500, 2))
    assert all(len(g) == 1 for g in groups(sized(*[1] * 8), 4))


def test_results_that_wait_for_an_earlier_one_are_few() -> None:
    waiting = WaitingItems(sized(*[1000] * 1000))
    started = []
    while waiting.may_start(0, 2):
        started.append(waiting.take(2))
    assert len(started) == 4 * 2
    assert not waiting.may_start(len(started[0]) - 1, 2)
    assert waiting.may_start(len(started[0]), 2)


def test_the_items_of_a_lost_call_are_called_alone() -> None:
    waiting = WaitingItems(sized(*[1000] * 1000))
    group = waiting.take(1)
    assert len(group) == GROUP_ITEMS
    assert waiting.put_back(group, caused=True) == 0
    assert [waiting.take(1) for _ in group] == [[i] for i in group]
    assert waiting.put_back([3], caused=True) == 1
    assert waiting.put_back(waiting.take(1), caused=False) == 1
    assert waiting.put_back(waiting.take(1), caused=True) == 2


@pytest.mark.parametrize("form", ["tasks", "actors"])
def test_grouped_results_come_in_order(ray: None, form: str) -> None:
    def double(item: SimpleNamespace) -> int:
        return 2 * item.number

    items = [SimpleNamespace(byte_size=10, number=i) for i in range(200)]
    if form == "tasks":
        results = cluster.stream(double, items, what="double: items")
    else:
        results = cluster.stream_actors(lambda: double, items, what="double: items")
    assert list(results) == [2 * i for i in range(200)]


def test_an_item_that_kills_its_worker_is_named_though_others_share_its_call(
    ray: None,
) -> None:
    def make() -> Callable[[SimpleNamespace], int]:
        def call(item: SimpleNamespace) -> int:
            if item.number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            number: int = item.number
            return number

        return call

    items = [SimpleNamespace(byte_size=10, number=i) for i in range(100)]
    done = cluster.stream_actors(make, items, what="kill: items", actors=1)
    with pytest.raises(ClusterError, match=r"died 4 times on namespace.*number=5\)"):
        list(done)
