"""Ray: starting it, and calls in tasks or actors whose results come in order."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.config.resources import Resources
from tasks.runtime.actors import ActorCallers, ActorPool, actor_pool, cpu_count
from tasks.runtime.calls import RETRIES, TaskCallers, in_order
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.failures import AGAIN, ClusterError
from tasks.runtime.metrics import measure
from tasks.runtime.spans import span

if TYPE_CHECKING:
    import ray
    import torch

    from tasks.runtime import ray_errors
else:  # Modules of tasks import this one whether they use Ray or not.
    ray = DeferredModule("ray")
    torch = DeferredModule("torch")
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

STARTS = 3
"""Number of times that a local Ray is started at most; on a busy machine its processes
may miss each other's deadlines, which cannot be set."""


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
        needed = resources.min_workers * (resources.cpus_per_worker or 1)
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


def dashboard_url() -> str | None:
    """Return the address of Ray's dashboard; None if Ray is not running or has none."""
    if "ray" not in sys.modules or not ray.is_initialized():
        return None
    # Asks for what the process is connected to; nothing is started.
    url = ray.init(ignore_reinit_error=True, logging_level=logging.ERROR).dashboard_url
    return f"http://{url}" if url else None


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
        call: Any = ray.remote(measure).options(max_retries=RETRIES)
        callers = TaskCallers(
            lambda items: call.remote(function_reference, items),
            parallel or 2 * cpu_count(),
        )
        yield from in_order(callers, items, what=what, units=units, done=done)


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
        callers = ActorCallers(pool, ray.put(make), actors, what)
        callers.look(len(items))
        yield from in_order(callers, items, what=what, units=units, done=done)


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
