"""Ray actors that calls are made in: a pool, and what replaces an actor that died."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.runtime.calls import LOOK_SECONDS, RETRIES
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.failures import AGAIN, ClusterError
from tasks.runtime.metrics import Measured, measure

if TYPE_CHECKING:
    import ray
    import torch
    from ray import exceptions
else:  # Modules of tasks import this one whether they use Ray or not.
    ray = DeferredModule("ray")
    torch = DeferredModule("torch")
    exceptions = DeferredModule("ray.exceptions")

logger = logging.getLogger(__name__)

PATIENT_SECONDS = 60.0
"""Seconds without any actor after which a job says that it waits for one."""


class Worker:
    """A Ray actor that makes a function at the first call for it and keeps it.

    The constructor does not make it, since Ray reports an exception there as the death
    of the actor.
    """

    def __init__(self) -> None:
        self.function: tuple[str, Callable[[Any], Any]] | None = None

    def ready(self) -> None:
        """Return once the process is running."""

    def call(
        self, make: list[ray.ObjectRef[Any]], items: Sequence[Any]
    ) -> list[Measured]:
        # In a list, since Ray would fetch a bare reference again for every call.
        name = make[0].hex()
        if self.function is None or self.function[0] != name:
            torch.set_num_threads(1)
            self.function = name, ray.get(make[0])()
        return measure(self.function[1], items)


class ActorPool:
    """Ray actors that several `stream_actors` share, since starting one takes seconds.

    Args:
        gpus: Fraction of a GPU that each actor gets.

    Attributes:
        workers: The actors that have been started.
    """

    def __init__(self, gpus: float = 0.0) -> None:
        self.gpus = gpus
        self.workers: list[Any] = []  # Ray's types are loose

    def capacity(self) -> int:
        """Return the number of actors that fit the cluster, at most one per CPU.

        Raises:
            ValueError: The actors need GPUs and the cluster has none.
        """
        if not self.gpus:
            return cpu_count()
        available = int(ray.cluster_resources().get("GPU", 0))
        if not available:
            raise ValueError(
                f"resources.gpus_per_process is {self.gpus:g}, but the cluster has no "
                "GPU; set it to 0, or add a node with one"
            )
        return min(cpu_count(), available * math.floor(1 / self.gpus + 1e-9))

    def take(self, count: int) -> list[Any]:
        """Return the first `count` actors, starting those that are missing."""
        while len(self.workers) < count:
            self.workers.append(self.start())
        return self.workers[:count]

    def start(self) -> Any:  # an actor
        """Start an actor, which waits until the cluster has room for it."""
        worker: Any = ray.remote(Worker)  # Ray's types are loose
        # Ray would restart an actor where it has room, perhaps never, and its calls
        # would wait for it; they are better made by the others.
        return worker.options(num_cpus=1, num_gpus=self.gpus, max_restarts=0).remote()

    def replace(self, position: int) -> Any:  # an actor
        """Start an actor in the place of one that died or cannot be reached."""
        ray.kill(self.workers[position])
        self.workers[position] = self.start()
        return self.workers[position]


@contextmanager
def actor_pool(gpus: float = 0.0) -> Iterator[ActorPool]:
    """Yield a pool whose actors are stopped at the end of the block.

    Args:
        gpus: Fraction of a GPU that each actor gets.
    """
    pool = ActorPool(gpus)
    try:
        yield pool
    finally:
        for worker in pool.workers:
            ray.kill(worker)


def cpu_count() -> int:
    """Return the number of CPUs that Ray counts in the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


class Seat:
    """An actor of a pool and the calls that were submitted to it.

    Attributes:
        position: Position of the actor in the pool.
        worker: The actor.
        calls: References of the calls without a result, in the order of submission.
        lost: Whether the actor died or cannot be reached.
    """

    def __init__(self, position: int, worker: Any) -> None:
        self.position, self.worker = position, worker
        self.calls: list[ray.ObjectRef[Any]] = []
        self.lost = False


class ActorCallers:
    """Actors of a pool; an actor that dies is replaced as soon as there is room.

    Each actor has one call at first, and another one that waits for it after that, so
    that it need not wait for the driver.

    Args:
        pool: The pool.
        make: Reference of the function that makes the function to call.
        count: Maximum number of actors; as many as there is room for if None.
        what: Name of the units, for messages.
    """

    def __init__(
        self, pool: ActorPool, make: ray.ObjectRef[Any], count: int | None, what: str
    ) -> None:
        self.pool, self.make, self.count, self.what = pool, make, count, what
        self.seats = 0
        self.free: deque[Seat] = deque()
        self.arriving: dict[ray.ObjectRef[Any], Seat] = {}
        self.calls: dict[ray.ObjectRef[Any], Seat] = {}
        self.failed_starts = 0
        self.next_look = 0.0
        self.last_call = time.monotonic()
        self.warned = False

    @property
    def parallel(self) -> int:
        return 2 * self.seats

    def look(self, remaining: int) -> None:
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + LOOK_SECONDS
        wanted = min(self.count or self.pool.capacity(), self.seats + remaining)
        # Actors of the pool that are there are used, since the first may be waiting.
        wanted = max(wanted, len(self.pool.workers))
        # On a shared cluster some actors may start late, or never. Work that waited for
        # all of them could deadlock with other jobs that wait for ours.
        for position in range(self.seats, wanted):
            self.expect(Seat(position, self.pool.take(position + 1)[position]))
        idle = time.monotonic() - self.last_call
        if not self.calls and idle > PATIENT_SECONDS and not self.warned:
            self.warned = True
            logger.warning(
                "%s: waiting for a processor of the Ray cluster; other jobs hold all, "
                "or its nodes are gone",
                self.what,
            )
        self.seats = max(self.seats, wanted)

    def expect(self, seat: Seat) -> None:
        """Wait for an actor to start."""
        self.arriving[seat.worker.ready.remote()] = seat

    def has_room(self) -> bool:
        return bool(self.free)

    def submit(self, items: list[Any]) -> ray.ObjectRef[Any]:
        seat = self.free.popleft()
        reference: ray.ObjectRef[Any] = seat.worker.call.remote([self.make], items)
        seat.calls.append(reference)
        self.calls[reference] = seat
        return reference

    def starting(self) -> Sequence[ray.ObjectRef[Any]]:
        return tuple(self.arriving)

    def started(self, reference: ray.ObjectRef[Any]) -> None:
        seat = self.arriving.pop(reference)
        try:
            ray.get(reference)
        except exceptions.RayActorError as error:
            self.failed_starts += 1
            if self.failed_starts > RETRIES * self.seats:
                raise ClusterError(
                    f"{self.what}: {self.failed_starts} processes of Ray died when "
                    f"they started; see the log of Ray, and {AGAIN}"
                ) from error
            self.expect(Seat(seat.position, self.pool.replace(seat.position)))
            return
        self.free.append(seat)

    def ended(self, reference: ray.ObjectRef[Any]) -> None:
        self.last_call = time.monotonic()
        seat = self.calls.pop(reference)
        seat.calls.remove(reference)
        if not seat.lost:
            # Beside this place, the second one, which opens after the first call.
            places = 2 - len(seat.calls) - self.free.count(seat)
            self.free.extend([seat] * places)

    def replace(
        self, reference: ray.ObjectRef[Any], error: exceptions.RayError
    ) -> bool | None:
        gone = (
            exceptions.RayActorError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
        )
        seat = self.calls.pop(reference)
        if not isinstance(error, gone):
            return None
        if not seat.lost:
            seat.lost = True
            while seat in self.free:
                self.free.remove(seat)
            logger.warning(
                "%s: a process of the Ray cluster, or its node, was lost; others make "
                "its parts",
                self.what,
            )
            self.expect(Seat(seat.position, self.pool.replace(seat.position)))
        # The others only waited for their turn.
        return reference is seat.calls[0]
