"""Calls in Ray whose results come in the order of their items."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from tasks.runtime import metrics
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.failures import ClusterError
from tasks.runtime.grouping import Group, WaitingItems
from tasks.runtime.metrics import Measured
from tasks.runtime.progress import report

if TYPE_CHECKING:
    import ray
    from ray import exceptions
else:  # Modules of tasks import this one whether they use Ray or not.
    ray = DeferredModule("ray")
    exceptions = DeferredModule("ray.exceptions")

logger = logging.getLogger(__name__)

RETRIES = 3
"""Number of times that a call is repeated after its worker process died."""

CANCEL_SECONDS = 10.0
"""Seconds that cancelled calls have to remove their unfinished files."""

LOOK_SECONDS = 5.0
"""Seconds between two looks at what the cluster has gained."""

Item = TypeVar("Item")


class Callers(Protocol):
    """The tasks or actors of Ray that calls are made in."""

    @property
    def parallel(self) -> int:
        """Maximum number of running calls."""

    def has_room(self) -> bool:
        """Return whether a call can be submitted."""

    def submit(self, items: list[Any]) -> ray.ObjectRef[Any]:
        """Start a call, whose result is a `Measured` for each of some items."""

    def starting(self) -> Sequence[ray.ObjectRef[Any]]:
        """Return references that become ready when an actor has started, or died."""

    def started(self, reference: ray.ObjectRef[Any]) -> None:
        """Use an actor that has started, or replace it if it died."""

    def ended(self, reference: ray.ObjectRef[Any]) -> None:
        """Let another call take the place of one that has a result."""

    def replace(
        self, reference: ray.ObjectRef[Any], error: exceptions.RayError
    ) -> bool | None:
        """Replace the actor of a call that was lost.

        Returns:
            Whether the call may have caused the loss; None if an error of that kind
            concerns no actor.
        """

    def look(self, remaining: int) -> None:
        """Use what the cluster has gained, for a number of calls that remain.

        It may be called often.
        """


class TaskCallers:
    """Ray tasks, which Ray repeats by itself if their process or node dies.

    Args:
        call: Starts the call of some items.
        parallel: Maximum number of running calls.
    """

    def __init__(
        self, call: Callable[[list[Any]], ray.ObjectRef[Any]], parallel: int
    ) -> None:
        self.call, self.limit = call, parallel
        self.running = 0

    @property
    def parallel(self) -> int:
        return self.limit

    def has_room(self) -> bool:
        return self.running < self.limit

    def submit(self, items: list[Any]) -> ray.ObjectRef[Any]:
        self.running += 1
        return self.call(items)

    def starting(self) -> Sequence[ray.ObjectRef[Any]]:
        return ()

    def started(self, reference: ray.ObjectRef[Any]) -> None:
        raise AssertionError("tasks do not start before they are called")

    def ended(self, reference: ray.ObjectRef[Any]) -> None:
        self.running -= 1

    def replace(
        self, reference: ray.ObjectRef[Any], error: exceptions.RayError
    ) -> bool | None:
        return None

    def look(self, remaining: int) -> None:
        """Ray gives waiting tasks to new nodes by itself."""


def in_order(
    callers: Callers,
    items: Sequence[Item],
    *,
    what: str,
    units: Callable[[Item], int],
    done: int,
) -> Iterator[Any]:
    """Keep as many calls running as there is room for, and yield results in order.

    Small items share calls. A call whose actor died is made again, by any actor.
    Running calls are cancelled when a call fails or the iterator is closed.

    Args:
        callers: Make the calls.
        items: The items.
        what: Name of the units in progress reports.
        units: Returns the number of units of an item.
        done: Number of units that were done before.
    """
    total = done + sum(units(item) for item in items)
    report(logger, what, done, total)
    waiting = WaitingItems(items)
    running: dict[ray.ObjectRef[Any], Group] = {}
    finished: dict[int, Any] = {}
    yielded, remaining = 0, len(items)
    try:
        while yielded < len(items):
            while callers.has_room() and waiting.may_start(yielded, callers.parallel):
                group = waiting.take(callers.parallel)
                running[callers.submit([items[index] for index in group])] = group
            callers.look(len(waiting))
            reference = _next_ended(callers, running)
            if reference is None:
                continue
            group = running.pop(reference)
            try:
                results = _results(reference, what)
            except exceptions.RayTaskError as error:
                raise _cause(error) from None
            except exceptions.RayError as error:
                caused = callers.replace(reference, error)
                deaths = waiting.put_back(group, caused=caused is not False)
                if caused is None or deaths > RETRIES:
                    _raise_named(error, items[group[0]], what)
                continue
            callers.ended(reference)
            for index, measured in zip(group, results, strict=True):
                finished[index], rows = measured.result, units(items[index])
                number = _number(items[index], index)
                metrics.record_fragment(what, number, rows, measured)
                done, remaining = done + rows, remaining - 1
            metrics.record("chainrule_fragments_remaining", remaining, task=what)
            report(logger, what, done, total)
            while yielded in finished:
                yield finished.pop(yielded)
                yielded += 1
    finally:
        _cancel(list(running))


def _results(reference: ray.ObjectRef[Any], what: str) -> list[Measured]:
    """Return the results of a call; if it has none, count it as failed or lost."""
    try:
        measured: list[Measured] = ray.get(reference)
    except exceptions.RayTaskError:
        metrics.record("chainrule_fragments", 1, task=what, outcome="failed")
        raise
    except exceptions.RayError:
        metrics.record("chainrule_fragments", 1, task=what, outcome="lost")
        raise
    return measured


def _number(item: object, position: int) -> int:
    """Return the number of a fragment; its position where items have no numbers."""
    number = getattr(item, "index", position)
    return number if isinstance(number, int) else position


def _next_ended(
    callers: Callers, running: Collection[ray.ObjectRef[Any]]
) -> ray.ObjectRef[Any] | None:
    """Wait for a while for one of the running calls to end, and for actors to start.

    Args:
        callers: Make the calls.
        running: References of the running calls.

    Returns:
        A call that has ended; None if none has yet.
    """
    under_way = [*running, *callers.starting()]
    ready, _ = ray.wait(under_way, num_returns=1, timeout=LOOK_SECONDS)
    if not ready:
        return None
    if ready[0] in running:
        return ready[0]
    callers.started(ready[0])
    return None


def _cause(error: exceptions.RayTaskError) -> BaseException:
    """Return the exception of a call, with its own type and the worker's stack."""
    cause: BaseException = error.cause  # perhaps one of Ray's, met in a worker
    trace = re.sub(r"\x1b\[\d+m", "", str(error))
    cause.add_note(f"raised in a Ray worker:\n{trace}")
    return cause


def _raise_named(error: exceptions.RayError, item: object, what: str) -> NoReturn:
    """Raise the error of a call that is not made again.

    Raises:
        ClusterError: Its processes died again and again; names the item.
    """
    died = (
        exceptions.WorkerCrashedError,
        exceptions.OutOfMemoryError,
        exceptions.RayActorError,
    )
    if not isinstance(error, died):
        raise error
    raise ClusterError(
        f"{what}: worker processes died {RETRIES + 1} times on {item!r}; if "
        "memory ran out, use smaller parts or fewer CPUs"
    ) from error


def _cancel(running: list[ray.ObjectRef[Any]]) -> None:
    """Cancel calls and give them time to remove their unfinished files."""
    for reference in running:
        ray.cancel(reference)
    if running:
        ray.wait(running, num_returns=len(running), timeout=CANCEL_SECONDS)
