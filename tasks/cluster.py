"""Ray: started once and quietly, and bounded parallel calls in order."""

import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import ray
import torch
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from tasks.config import Resources
from tasks.progress import report

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3
"""How often a call is repeated whose worker process died under it."""

CANCEL_SECONDS = 10.0
"""How long to wait for cancelled calls that remove their unfinished files."""


def connect(resources: Resources, *, cpus: int | None = None) -> None:
    """Starts Ray in this process, or joins the cluster at `RAY_ADDRESS`.

    Does nothing when Ray runs already. A local Ray counts the processors by itself;
    when more training workers are asked for than there are, it lets them share.

    Args:
        resources: Says how many training workers must find a place.
        cpus: What a local Ray takes for the number of processors.
    """
    if ray.is_initialized():
        return
    options: dict[str, Any] = {}  # whatever ray.init takes
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        wanted = resources.workers * (resources.cpus_per_worker or 1)
        if cpus is None and wanted > (os.cpu_count() or 1):
            cpus = wanted
        options = {"num_cpus": cpus, "include_dashboard": False}
    ray.init(
        address=address, log_to_driver=False, logging_level=logging.ERROR, **options
    )


def stream(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    what: str,
    units: Callable[[Item], int] = lambda item: 1,
    done: int = 0,
    parallel: int | None = None,
) -> Iterator[Result]:
    """Calls `function` on every item in Ray tasks; yields the results in item order.

    A call whose worker process died is repeated, so it must not matter whether it ran
    before. If a call raises, that exception rises here as it was, and the calls under
    way are stopped; so they are when the iterator is closed.

    Args:
        function: Anything that pickles; shipped to the workers once.
        items: Small descriptions of work, such as fragments.
        what: Names the units in reports of progress, such as "score: rows".
        units: How much work an item is.
        done: Units that were done before, for the reports.
        parallel: Calls under way at a time; two per processor if None, so that
            workers need not wait for the driver. Results wait in memory for earlier
            ones, four times as many at most.
    """
    items = list(items)
    shipped = ray.put(function)
    call: Any = ray.remote(_call).options(max_retries=RETRIES)  # Ray's types are loose
    yield from _in_order(
        lambda item, place: call.remote(shipped, item),
        items,
        what=what,
        units=units,
        done=done,
        parallel=parallel or 2 * processors(),
    )


def stream_actors(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    *,
    what: str,
    units: Callable[[Item], int] = lambda item: 1,
    done: int = 0,
    actors: int | None = None,
    gpus: float = 0.0,
    crew: "Crew | None" = None,
) -> Iterator[Result]:
    """Like `stream`, with functions that are costly to make, such as loaded models.

    In an actor torch has one thread: the last digits of its results depend on their
    number, and as many actors as processors are faster than fewer with more threads.

    Args:
        make: Makes the function; called once in every actor.
        items: As for `stream`.
        what: As for `stream`.
        units: As for `stream`.
        done: As for `stream`.
        actors: Processes at work; as many as find a place if None. Never more than
            items.
        gpus: What part of a GPU each new one gets.
        crew: The processes to take, which are left alive; new ones if None.
    """
    items = list(items)
    shipped = ray.put(make)
    with assembled(gpus) if crew is None else nullcontext(crew) as crew:
        holders = crew.of(min(actors or crew.places(), len(items)))
        # On a cluster that others use as well some may come late, or never: work that
        # waited for them would wait for ever if the others wait for ours.
        arriving = {
            holder.ready.options(max_task_retries=0).remote(): place
            for place, holder in enumerate(holders)
        }
        yield from _in_order(
            lambda item, place: holders[place % len(holders)].call.remote(
                [shipped], item
            ),
            items,
            what=what,
            units=units,
            done=done,
            parallel=2 * len(holders),
            arriving=arriving,
        )


class Crew:
    """Actors that work for several `stream_actors`, since it takes long to start one.

    Args:
        gpus: What part of a GPU each gets.

    Attributes:
        holders: Those that were needed so far.
    """

    def __init__(self, gpus: float = 0.0) -> None:
        self.gpus = gpus
        self.holders: list[Any] = []  # Ray's types are loose

    def places(self) -> int:
        """How many find a place in the cluster, one for each processor at most.

        Raises:
            ValueError: There is no such GPU.
        """
        if not self.gpus:
            return processors()
        there = int(ray.cluster_resources().get("GPU", 0))
        if not there:
            raise ValueError(
                f"resources.gpus_per_process is {self.gpus:g}, but the cluster has no "
                "GPU; set it to 0, or add a node with one"
            )
        return min(processors(), there * math.floor(1 / self.gpus + 1e-9))

    def of(self, count: int) -> list[Any]:
        """So many of them; those that lack are started."""
        holder: Any = ray.remote(_Holder).options(
            num_cpus=1,
            num_gpus=self.gpus,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )
        while len(self.holders) < count:
            self.holders.append(holder.remote())
        return self.holders[:count]


@contextmanager
def assembled(gpus: float = 0.0) -> Iterator[Crew]:
    """A crew that ends with the block, each with that part of a GPU."""
    crew = Crew(gpus)
    try:
        yield crew
    finally:
        for each in crew.holders:
            ray.kill(each)


def processors() -> int:
    """The processors that Ray counts in the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def device() -> torch.device:
    """Where this process is to compute: on the GPU that Ray gave it, if any.

    Raises:
        RuntimeError: Ray gave it one, and torch cannot use it.
    """
    if not ray.is_initialized():
        return torch.device("cpu")
    given = ray.get_runtime_context().get_accelerator_ids().get("GPU")
    if not given:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"Ray gave this process GPU {', '.join(given)}, but torch "
            f"{torch.__version__} finds none; install a torch for that GPU and its "
            "driver on every node, or set resources.gpus_per_process: 0"
        )
    return torch.device("cuda")


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


class _Holder:
    """An actor with a function that it makes at the first call for it.

    It is not made in the constructor, since Ray reports what a constructor raises as
    the death of the actor, and cannot restart one whose arguments are large.
    """

    def __init__(self) -> None:
        self.made: tuple[str, Callable[[Any], Any]] | None = None

    def ready(self) -> None:
        """Tells that the process is there."""

    def call(self, make: "list[ray.ObjectRef[Any]]", item: Any) -> Any:  # a result
        # In a list, since Ray would fetch a bare reference anew for every call.
        name = make[0].hex()
        if self.made is None or self.made[0] != name:
            torch.set_num_threads(1)
            self.made = name, ray.get(make[0])()
        return self.made[1](item)


def _in_order(
    submit: Callable[[Item, int], "ray.ObjectRef[Any]"],
    items: Sequence[Item],
    *,
    what: str,
    units: Callable[[Item], int],
    done: int,
    parallel: int,
    arriving: "Mapping[ray.ObjectRef[Any], int] | None" = None,
) -> Iterator[Any]:
    """Keeps `parallel` calls under way, each in a numbered place; yields in order.

    Where `arriving` is given, a place is there as soon as what it is for has come, and
    half of the places are second ones, which follow after the first call of the first.
    """
    opening = dict(arriving or {})
    seconds = {place: place + len(opening) for place in opening.values()}
    total = done + sum(units(item) for item in items)
    report(logger, what, done, total)
    places = [] if opening else list(range(parallel))
    waiting: dict[ray.ObjectRef[Any], tuple[int, int]] = {}
    finished: dict[int, Any] = {}
    submitted = yielded = 0
    try:
        while yielded < len(items):
            limit = min(len(items), yielded + 4 * parallel)
            while places and submitted < limit:
                place = places.pop(0)
                waiting[submit(items[submitted], place)] = submitted, place
                submitted += 1
            ready, _ = ray.wait([*waiting, *opening], num_returns=1)
            if ready[0] in opening:
                _result(ready[0], "a process", what)
                places.append(opening.pop(ready[0]))
                continue
            index, place = waiting.pop(ready[0])
            places.append(place)
            if place in seconds:
                places.append(seconds.pop(place))
            finished[index] = _result(ready[0], items[index], what)
            done += units(items[index])
            report(logger, what, done, total)
            while yielded in finished:
                yield finished.pop(yielded)
                yielded += 1
    finally:
        _cancel(list(waiting))


def _result(
    reference: "ray.ObjectRef[Any]", item: object, what: str
) -> Any:  # a result
    """The value, or what the call raised, in its own type and words."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause: BaseException = error.cause
        trace = re.sub(r"\x1b\[\d+m", "", str(error))
        cause.add_note(f"It was raised in a Ray worker:\n{trace}")
        raise cause from None
    except (WorkerCrashedError, OutOfMemoryError) as error:
        raise RuntimeError(
            f"{what}: worker processes died {RETRIES + 1} times on {item!r}; if "
            "memory ran out, make its parts smaller or the number of processors less"
        ) from error


def _cancel(waiting: "list[ray.ObjectRef[Any]]") -> None:
    """Stops calls and gives them time to remove their unfinished files."""
    for reference in waiting:
        ray.cancel(reference)
    if waiting:
        ray.wait(waiting, num_returns=len(waiting), timeout=CANCEL_SECONDS)
