"""Ray: starting it, and calls in tasks or actors whose results come in order."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.config.resources import Resources
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.failures import AGAIN, ClusterError
from tasks.runtime.progress import report
from tasks.runtime.spans import span

if TYPE_CHECKING:
    import ray
    import torch
    from ray import exceptions

    from tasks.runtime import ray_errors
else:  # Modules of tasks import this one whether they use Ray or not.
    ray = DeferredModule("ray")
    torch = DeferredModule("torch")
    exceptions = DeferredModule("ray.exceptions")
    ray_errors = DeferredModule("tasks.runtime.ray_errors")

logger = logging.getLogger(__name__)

STARTER = "start Ray"
"""Name of the thread of `connect_early`."""

CONNECT_SECONDS = 10.0
"""Maximum time to wait at the end of a command for a Ray that is starting."""

CONNECTING = threading.Lock()
"""Held while a thread starts Ray or connects to a cluster."""

WORKER_HOOK = "CHAINRULE_WORKER_HOOK"
"""Environment variable: name of a function that each worker is to call first, which
`chainrule_entry` sets where workers would import other packages with our names."""

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3
"""Number of times that a call is repeated after its worker process died."""

STARTS = 3
"""Number of times that a local Ray is started at most; on a busy machine its processes
may miss each other's deadlines, which cannot be set."""

CANCEL_SECONDS = 10.0
"""Seconds that cancelled calls have to remove their unfinished files."""


def connect(resources: Resources, *, cpus: int | None = None) -> None:
    """Start a local Ray, or connect to the cluster at `RAY_ADDRESS`.

    Nothing happens if Ray is running already.

    Args:
        resources: Number of training workers, and CPUs of each. If they need more CPUs
            than the machine has, a local Ray is told that it has that many.
        cpus: Number of CPUs that a local Ray schedules; all of the machine if None.

    Raises:
        ClusterError: Ray does not start, or no cluster answers.
    """
    with CONNECTING:
        if not ray.is_initialized():
            start_ray(resources, cpus)


def start_ray(resources: Resources, cpus: int | None) -> None:
    """Start a local Ray, or connect to the cluster at `RAY_ADDRESS`.

    Args:
        resources: As for `connect`.
        cpus: As for `connect`.

    Raises:
        ClusterError: Ray does not start, or no cluster answers.
    """
    options: dict[str, Any] = {}  # whatever ray.init takes
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        needed = resources.workers * (resources.cpus_per_worker or 1)
        if cpus is None and needed > (os.cpu_count() or 1):
            cpus = needed
        options = {"num_cpus": cpus, "include_dashboard": False}
    if hook := os.environ.get(WORKER_HOOK):
        options["runtime_env"] = {"worker_process_setup_hook": hook}
    options |= {"log_to_driver": False, "logging_level": logging.ERROR}
    attempts = STARTS if address == "local" else 1
    for attempt in range(1, attempts + 1):
        try:
            with span("start Ray"):
                ray.init(address=address, **options)
            return
        except Exception as error:  # Ray raises this class itself.
            ray.shutdown()
            if attempt == attempts:
                raise ClusterError(describe_start(address, error)) from error
            logger.warning("Ray did not start in time; it is started again")


def connect_early(resources: Resources) -> None:
    """Start Ray in a thread, while this process does what needs no Ray.

    A failure is left to `connect`, which tries again and explains it.

    Args:
        resources: As for `connect`.
    """
    if any(thread.name == STARTER for thread in threading.enumerate()):
        return

    def work() -> None:
        try:
            connect(resources)
        except ClusterError as error:
            logger.debug("Ray did not start early: %s", error)
        # The kernel ends Ray's processes when the thread ends that started them.
        threading.Event().wait()

    threading.Thread(target=work, name=STARTER, daemon=True).start()


def wait_until_connected() -> None:
    """Wait, for a bounded time, until no thread is starting Ray any more.

    A process must not end, nor end Ray's processes, in the middle of that.
    """
    if CONNECTING.acquire(timeout=CONNECT_SECONDS):
        CONNECTING.release()


def describe_start(address: str, error: Exception) -> str:
    """Return the message for a Ray that could not be started or reached.

    Args:
        address: Address of the cluster, or "local".
        error: Error of Ray.
    """
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if address == "local":
        return (
            f"Ray did not start, {STARTS} times: {reason}; the machine may be too busy "
            f"or short of memory; {AGAIN}"
        )
    return (
        f"RAY_ADDRESS is {address}, but no Ray cluster can be used there: {reason}; "
        "start it, or unset RAY_ADDRESS to use this machine"
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
    """Call a function on every item in Ray tasks and yield the results in order.

    A call is repeated if its worker process died, so it must be idempotent. An
    exception of a call is raised here unchanged, and running calls are cancelled; they
    are also cancelled when the iterator is closed.

    Args:
        function: A function that can be pickled; sent to the workers once.
        items: Small descriptions of work, such as fragments.
        what: Name of the units in progress reports, such as "score: rows".
        units: Returns the number of units of an item.
        done: Number of units that were done before, for progress reports.
        parallel: Maximum number of running calls; two per CPU if None, so that workers
            need not wait for the driver. At most four times as many results wait in
            memory for earlier ones.
    """
    items = list(items)
    with ray_errors.explained(what):
        function_reference = ray.put(function)
        # Ray's types are loose.
        call: Any = ray.remote(_call).options(max_retries=RETRIES)
        yield from _in_order(
            lambda item, slot: call.remote(function_reference, item),
            items,
            what=what,
            units=units,
            done=done,
            parallel=parallel or 2 * cpu_count(),
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
    pool: ActorPool | None = None,
) -> Iterator[Result]:
    """Call a function that is costly to make on every item in Ray actors.

    Results come in order, as for `stream`. In an actor torch uses one thread: the last
    digits of its results depend on the number of threads, and as many actors as CPUs
    are faster than fewer actors with more threads.

    Args:
        make: Makes the function, such as by loading a model; called once per actor.
        items: Small descriptions of work, such as fragments.
        what: Name of the units in progress reports, such as "score: rows".
        units: Returns the number of units of an item.
        done: Number of units that were done before, for progress reports.
        actors: Number of actors; as many as the cluster has room for if None. Never
            more than items.
        gpus: Fraction of a GPU that each new actor gets.
        pool: Actors to use and leave alive; new ones if None.
    """
    items = list(items)
    with (
        ray_errors.explained(what),
        actor_pool(gpus) if pool is None else nullcontext(pool) as pool,
    ):
        make_reference = ray.put(make)
        workers = pool.take(min(actors or pool.capacity(), len(items)))
        # On a shared cluster some actors may start late, or never. Work that waited for
        # all of them could deadlock with other jobs that wait for ours.
        arriving = {
            worker.ready.options(max_task_retries=0).remote(): slot
            for slot, worker in enumerate(workers)
        }
        yield from _in_order(
            lambda item, slot: workers[slot % len(workers)].call.remote(
                [make_reference], item
            ),
            items,
            what=what,
            units=units,
            done=done,
            parallel=2 * len(workers),
            arriving=arriving,
        )


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
        worker: Any = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=self.gpus,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )
        while len(self.workers) < count:
            self.workers.append(worker.remote())
        return self.workers[:count]


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


def device() -> torch.device:
    """Return the device of this process: the GPU that Ray assigned to it, or the CPU.

    Raises:
        RuntimeError: Ray assigned a GPU that torch cannot use.
    """
    if not ray.is_initialized():
        return torch.device("cpu")
    assigned = ray.get_runtime_context().get_accelerator_ids().get("GPU")
    if not assigned:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"Ray assigned GPU {', '.join(assigned)} to this process, but torch "
            f"{torch.__version__} finds none; install a torch for that GPU and its "
            "driver on every node, or set resources.gpus_per_process: 0"
        )
    return torch.device("cuda")


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


class Worker:
    """A Ray actor that makes a function at the first call for it and keeps it.

    The constructor does not make it, since Ray reports an exception there as the death
    of the actor, and cannot restart an actor whose arguments are large.
    """

    def __init__(self) -> None:
        self.function: tuple[str, Callable[[Any], Any]] | None = None

    def ready(self) -> None:
        """Return once the process is running."""

    def call(self, make: list[ray.ObjectRef[Any]], item: Any) -> Any:  # a result
        # In a list, since Ray would fetch a bare reference again for every call.
        name = make[0].hex()
        if self.function is None or self.function[0] != name:
            torch.set_num_threads(1)
            self.function = name, ray.get(make[0])()
        return self.function[1](item)


def _in_order(
    submit: Callable[[Item, int], ray.ObjectRef[Any]],
    items: Sequence[Item],
    *,
    what: str,
    units: Callable[[Item], int],
    done: int,
    parallel: int,
    arriving: Mapping[ray.ObjectRef[Any], int] | None = None,
) -> Iterator[Any]:
    """Keep `parallel` calls running, each in a numbered slot, and yield in order.

    Args:
        submit: Starts the call of an item in a slot.
        items: The items.
        what: Name of the units in progress reports.
        units: Returns the number of units of an item.
        done: Number of units that were done before.
        parallel: Number of slots.
        arriving: References that become ready when an actor has started, with the
            actor's slot. Each actor has a second slot, which opens after its first
            call, so that its next item is waiting when it finishes one.
    """
    starting = dict(arriving or {})
    second_slots = {slot: slot + len(starting) for slot in starting.values()}
    total = done + sum(units(item) for item in items)
    report(logger, what, done, total)
    slots = [] if starting else list(range(parallel))
    running: dict[ray.ObjectRef[Any], tuple[int, int]] = {}
    finished: dict[int, Any] = {}
    submitted = yielded = 0
    try:
        while yielded < len(items):
            limit = min(len(items), yielded + 4 * parallel)
            while slots and submitted < limit:
                slot = slots.pop(0)
                running[submit(items[submitted], slot)] = submitted, slot
                submitted += 1
            ready, _ = ray.wait([*running, *starting], num_returns=1)
            if ready[0] in starting:
                _result(ready[0], "a process", what)
                slots.append(starting.pop(ready[0]))
                continue
            index, slot = running.pop(ready[0])
            slots.append(slot)
            if slot in second_slots:
                slots.append(second_slots.pop(slot))
            finished[index] = _result(ready[0], items[index], what)
            done += units(items[index])
            report(logger, what, done, total)
            while yielded in finished:
                yield finished.pop(yielded)
                yielded += 1
    finally:
        _cancel(list(running))


def _result(reference: ray.ObjectRef[Any], item: object, what: str) -> Any:  # a result
    """Return the value of a call, or raise its exception with its own type."""
    try:
        return ray.get(reference)
    except exceptions.RayTaskError as error:
        cause: BaseException = error.cause  # perhaps one of Ray's, met in a worker
        trace = re.sub(r"\x1b\[\d+m", "", str(error))
        cause.add_note(f"raised in a Ray worker:\n{trace}")
        raise cause from None
    except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
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
