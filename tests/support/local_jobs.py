"""Bulk jobs without Ray: pieces of work are done in this process."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from ray import cloudpickle

from tasks.runtime import cluster


@contextmanager
def local_jobs() -> Iterator[None]:
    """Run pieces of jobs in this process, one after the other, as in one actor.

    What Ray would send to its workers is pickled and loaded again.
    """

    def stream(
        function: Callable[[Any], Any], items: Iterable[Any], **_: object
    ) -> Iterator[Any]:
        function, items = cloudpickle.loads(cloudpickle.dumps((function, list(items))))
        yield from map(function, items)

    def stream_actors(
        make: Callable[[], Callable[[Any], Any]], items: Iterable[Any], **_: object
    ) -> Iterator[Any]:
        make, items = cloudpickle.loads(cloudpickle.dumps((make, list(items))))
        if items:
            yield from map(make(), items)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "connect", lambda *_, **__: None)
        patch.setattr(cluster, "connect_early", lambda _: None)
        patch.setattr(cluster, "stream", stream)
        patch.setattr(cluster, "stream_actors", stream_actors)
        yield
    torch.set_num_threads(threads)
