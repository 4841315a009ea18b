"""Errors of Ray in words that say what has happened and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray import exceptions

from tasks.runtime import memory
from tasks.runtime.failures import AGAIN, ClusterError

LESS_MEMORY = (
    "use a smaller rows_per_fragment or train.batch_size, fewer resources.workers, or "
    "more memory"
)
DIED = f"a process of Ray has died; {AGAIN}"
LOST = f"a node of the cluster was lost, and results with it; {AGAIN}"
NO_ROOM = (
    "the cluster has no room for the processes of this command; lower "
    "resources.workers, resources.cpus_per_worker or the GPUs, or add nodes"
)
NO_ANSWER = (
    f"Ray does not answer; see that its nodes and their network work, and {AGAIN}"
)
INTERNAL = f"Ray has failed; {AGAIN}; the log says more"

MESSAGES: dict[type[Exception], str] = {
    exceptions.OutOfMemoryError: f"memory ran out on a node of Ray; {LESS_MEMORY}",
    exceptions.ObjectStoreFullError: (
        "Ray's shared memory is full; give the container a larger /dev/shm (docker run "
        "--shm-size), or use a smaller rows_per_fragment"
    ),
    exceptions.OutOfDiskError: (
        "the disk of Ray's temporary files is full; free some space there, or set "
        f"RAY_TMPDIR to a directory on another disk; {AGAIN}"
    ),
    exceptions.AuthenticationError: (
        "the Ray cluster refuses the token of this command; set RAY_AUTH_TOKEN, or "
        "RAY_AUTH_TOKEN_PATH to a file with the token of the cluster"
    ),
    exceptions.RuntimeEnvSetupError: (
        "Ray cannot set up its worker processes; install the same version of chainrule "
        "on every node"
    ),
    exceptions.TaskUnschedulableError: NO_ROOM,
    exceptions.ActorUnschedulableError: NO_ROOM,
    exceptions.TaskPlacementGroupRemoved: NO_ROOM,
    exceptions.ActorPlacementGroupRemoved: NO_ROOM,
    exceptions.TaskCancelledError: f"a call was cancelled from outside; {AGAIN}",
    exceptions.LocalRayletDiedError: DIED,
    exceptions.WorkerCrashedError: DIED,
    exceptions.RayActorError: DIED,
    exceptions.ActorHandleNotFoundError: DIED,
    exceptions.AsyncioActorExit: DIED,
    exceptions.NodeDiedError: LOST,
    exceptions.ObjectLostError: LOST,
    exceptions.RpcError: NO_ANSWER,
    exceptions.GetTimeoutError: NO_ANSWER,
    exceptions.RaySystemError: INTERNAL,
    # What only programs meet that use Ray in other ways than this one.
    exceptions.ActorAlreadyExistsError: INTERNAL,
    exceptions.CrossLanguageError: INTERNAL,
    exceptions.ObjectRefStreamEndOfStreamError: INTERNAL,
    exceptions.OufOfBandObjectRefSerializationException: INTERNAL,
    exceptions.PendingCallsLimitExceeded: INTERNAL,
    exceptions.PlasmaObjectNotAvailable: INTERNAL,
    exceptions.RayTaskError: INTERNAL,
    exceptions.UnserializableException: INTERNAL,
    exceptions.UserCodeException: INTERNAL,
}
"""Messages about errors of Ray, by class; that of the nearest base class counts."""


def message(kind: type[BaseException]) -> str:
    """Return what to say about a class of Ray's errors."""
    known = (MESSAGES[each] for each in kind.__mro__ if each in MESSAGES)
    return next(known, INTERNAL)


def describe(error: exceptions.RayError, *, killed: bool) -> str:
    """Return what an error of Ray means, and what to do.

    Args:
        error: The error.
        killed: Whether the system has killed processes for want of memory meanwhile.
    """
    said = message(type(error))
    if killed and said in (DIED, LOST):
        limit = memory.limit()
        size = "" if limit is None else f" (the limit is {limit / 2**30:.1f} GiB)"
        said = (
            f"a process of Ray was killed because memory ran out{size}; {LESS_MEMORY}; "
            f"{AGAIN}"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{said} (Ray: {type(error).__name__}{': ' + lines[0] if lines else ''})"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise errors of Ray in the block as `ClusterError`.

    Args:
        what: What the block does, for the message, such as "score: rows".
    """
    before = memory.killed_count()
    try:
        yield
    except exceptions.RayError as error:
        killed = memory.killed_count() > before
        raise ClusterError(f"{what}: {describe(error, killed=killed)}") from error
