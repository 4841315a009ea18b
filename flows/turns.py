"""Whose turn it is: one run at a time works on a dataset, also after a crash.

A slot of Prefect's concurrency limits is held by a lease. A server that is restarted
forgets its leases, unless told where to keep them, and the slot stays taken for ever.
And where a run died with its machine, nobody says so. Hence a run that finds the slot
taken looks whether there is somebody who has it.
"""

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.concurrency.sync import concurrency
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Crashed

logger = logging.getLogger(__name__)

TAG = "chainrule"
"""Of all deployments; the other one is the name of the dataset."""

PATIENCE = 5.0
"""Seconds that a run waits for another one to end, where it is not to be queued."""

HEARTBEAT = 180.0
"""Seconds between the events by which Prefect's flow runs tell that they live."""

SILENCE = 600.0
"""Seconds without one after which a run may be dead; it gets `HEARTBEAT` to object."""

MOMENT = 5.0
"""Seconds within which a run that got the slot has said so."""

HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"

LATEST = 20
"""How many of the latest runs that crashed are looked at for what they left behind."""


def limit_name(name: str) -> str:
    """The concurrency limit of a dataset, which lets one run work at a time."""
    return f"chainrule-{name}"


@contextlib.contextmanager
def turn(name: str, *, queue: bool) -> Iterator[None]:
    """Holds the slot of a dataset.

    Args:
        name: Of the dataset.
        queue: Whether to wait for a run that has it, or to give up.

    Raises:
        TimeoutError: Another run has it, or waits for it to do the same.
    """
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit_name(name), 1)
        free(client, name)
        bury(client, ended_badly(client, name))
        waits = first_in_line(client, name)
    if waits is not None:
        raise TimeoutError(f"run {waits.name} waits its turn to do the same")
    with contextlib.ExitStack() as stack:
        seconds = None if queue else PATIENCE
        try:
            stack.enter_context(concurrency(limit_name(name), timeout_seconds=seconds))
        except TimeoutError as error:
            raise TimeoutError(f"another run on {name} is under way") from error
        tell_holder(name)
        yield


def tell_holder(name: str) -> None:
    """Says of this run, by a tag, that it has the slot."""
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(str(flow_run.id)))
        client.update_flow_run(own.id, tags=sorted({*own.tags, limit_name(name)}))


def free(client: SyncPrefectClient, name: str) -> None:
    """Frees the slot of a dataset if it is taken and nobody has it."""
    if not taken(client, name):
        return
    silent = [run for run in holders(client, name) if not beats(client, run)]
    if silent:
        # After an outage of the server those that live are not heard at once.
        time.sleep(HEARTBEAT)
    for run in silent:
        if not beats(client, run):
            message = f"no sign of life for {SILENCE / 60:.0f} minutes"
            client.set_flow_run_state(run.id, Crashed(message=message), force=True)
            logger.warning("run %s is marked as crashed: %s", run.name, message)
    if holders(client, name):
        return
    # Who has just got it says so in a moment; and two that look must not both free it.
    time.sleep(MOMENT * random.uniform(1, 2))
    if taken(client, name) and not holders(client, name):
        update = GlobalConcurrencyLimitUpdate(active_slots=0)
        client.update_global_concurrency_limit(limit_name(name), update)
        logger.warning("the slot of %s was taken by no run and is free now", name)


def first_in_line(client: SyncPrefectClient, name: str) -> FlowRun | None:
    """An earlier run of this deployment that waits for the slot, if there is one.

    A run that waits is a process: there is one of each deployment at most.
    """
    if deployment.id is None:
        return None
    under_way = client.read_flow_runs(
        flow_run_filter=in_states(StateType.RUNNING), deployment_filter=this()
    )
    own = client.read_flow_run(UUID(str(flow_run.id)))
    for run in under_way:
        earlier = (run.start_time, run.id) < (own.start_time, own.id)
        holds = limit_name(name) in run.tags
        if earlier and not holds and beats(client, run):
            return run
    return None


def taken(client: SyncPrefectClient, name: str) -> bool:
    """Whether the slot of a dataset is taken."""
    limit = client.read_global_concurrency_limit_by_name(limit_name(name))
    return limit.active_slots > 0


def holders(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """The runs under way that got the slot: one, if any."""
    got = in_states(StateType.RUNNING)
    got.tags = FlowRunFilterTags(all_=[limit_name(name)])
    return client.read_flow_runs(flow_run_filter=got)


def beats(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether a run has told lately that it lives."""
    since = datetime.now(UTC) - timedelta(seconds=SILENCE)
    if run.start_time is None or run.start_time > since:
        return True
    path: Any = "/events/filter"  # Prefect's list of paths lacks it
    answer = client.request(
        "POST",
        path,
        json={
            "filter": {
                "occurred": {"since": since.isoformat()},
                "event": {"name": [HEARTBEAT_EVENT]},
                "resource": {"id": [f"prefect.flow-run.{run.id}"]},
            },
            "limit": 1,
        },
    )
    return bool(answer.json()["events"])


def ended_badly(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """The latest runs of a dataset's deployments that crashed or were cancelled."""
    return client.read_flow_runs(
        flow_run_filter=in_states(StateType.CRASHED, StateType.CANCELLED),
        deployment_filter=of(name),
        sort=FlowRunSort.START_TIME_DESC,
        limit=LATEST,
    )


def bury(client: SyncPrefectClient, parents: list[FlowRun]) -> None:
    """Ends the runs that died within others: a worker says it of the outermost only."""
    if not parents:
        return
    inside = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[p.id for p in parents]),
        state=in_states(StateType.RUNNING, StateType.PENDING).state,
    )
    for run in client.read_flow_runs(flow_run_filter=inside):
        message = "the process of the run around it was killed"
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def collapse_late_runs() -> None:
    """Cancels the runs of this deployment that an outage has made late.

    They would do what this one does, one after the other.
    """
    if deployment.id is None:
        return
    due = in_states(StateType.SCHEDULED)
    due.expected_start_time = FlowRunFilterExpectedStartTime(before_=datetime.now(UTC))
    with get_client(sync_client=True) as client:
        for late in client.read_flow_runs(
            flow_run_filter=due, deployment_filter=this()
        ):
            if str(late.id) == str(flow_run.id):
                continue
            client.set_flow_run_state(
                late.id,
                Cancelled(message=f"late; run {flow_run.name} stands for it"),
                force=True,
            )
            logger.info(
                "the late run %s is cancelled, this one stands for it", late.name
            )


def this() -> DeploymentFilter:
    """The deployment of this run."""
    return DeploymentFilter(id=DeploymentFilterId(any_=[UUID(str(deployment.id))]))


def of(name: str) -> DeploymentFilter:
    """The deployments of a dataset."""
    return DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG, name]))


def in_states(*kinds: StateType) -> FlowRunFilter:
    """The flow runs in any of some states."""
    kind = FlowRunFilterStateType(any_=list(kinds))
    return FlowRunFilter(state=FlowRunFilterState(type=kind))
