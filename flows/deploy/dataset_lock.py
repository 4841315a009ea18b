"""Let one run at a time work on a dataset, also after a run or a server has crashed.

Runs share a slot of a Prefect concurrency limit, which is held by a lease. A server
that is restarted forgets its leases, unless it is told where to store them, and the
slot stays taken for ever. And nobody reports a run that died with its machine. So a run
that finds the slot taken checks whether a living run holds it.
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
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.concurrency.sync import concurrency
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Crashed

logger = logging.getLogger(__name__)

TAG = "chainrule"
"""Tag of all deployments; a second tag is the name of the dataset."""

WAIT_SECONDS = 5.0
"""Seconds that a run waits for the slot where `schedules` does not queue runs."""

HEARTBEAT_SECONDS = 180.0
"""Seconds between the heartbeat events that Prefect emits for a flow run."""

SILENCE_SECONDS = 600.0
"""Seconds without a heartbeat after which a run is presumed dead."""

CLAIM_SECONDS = 5.0
"""Seconds within which a run that got the slot has tagged itself as its holder."""

HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
"""Name of Prefect's heartbeat events."""

MAX_ENDED_RUNS = 20
"""Number of the latest crashed runs whose child runs are looked up."""


def limit_name(name: str) -> str:
    """Return the name of the concurrency limit of a dataset, which has one slot."""
    return f"chainrule-{name}"


@contextlib.contextmanager
def hold(name: str, *, queue: bool) -> Iterator[None]:
    """Hold the slot of a dataset while the block runs.

    Args:
        name: Name of the dataset.
        queue: Whether to wait for a run that holds the slot, or to give up.

    Raises:
        TimeoutError: Another run holds the slot, or another run of this deployment
            already waits for it.
    """
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit_name(name), 1)
        release_stale_slot(client, name)
        crash_children(client, crashed_runs(client, name))
        waiting = earlier_waiting_run(client, name)
    if waiting is not None:
        raise TimeoutError(f"run {waiting.name} already waits to do the same")
    with contextlib.ExitStack() as stack:
        seconds = None if queue else WAIT_SECONDS
        try:
            stack.enter_context(concurrency(limit_name(name), timeout_seconds=seconds))
        except TimeoutError as error:
            raise TimeoutError(f"another run works on {name}") from error
        tag_holder(name)
        yield


def tag_holder(name: str) -> None:
    """Tag the current flow run as the holder of a dataset's slot."""
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(str(flow_run.id)))
        client.update_flow_run(own.id, tags=sorted({*own.tags, limit_name(name)}))


def release_stale_slot(client: SyncPrefectClient, name: str) -> None:
    """Release the slot of a dataset if it is taken and no living run holds it.

    Runs that hold it without a heartbeat are marked as crashed.
    """
    if not is_taken(client, name):
        return
    silent = [r for r in slot_holders(client, name) if not has_heartbeat(client, r)]
    if silent:
        # After an outage of the server, living runs need a period to be heard again.
        time.sleep(HEARTBEAT_SECONDS)
    for run in silent:
        if not has_heartbeat(client, run):
            message = f"no heartbeat for {SILENCE_SECONDS / 60:.0f} minutes"
            client.set_flow_run_state(run.id, Crashed(message=message), force=True)
            logger.warning("run %s is marked as crashed: %s", run.name, message)
    if slot_holders(client, name):
        return
    # A run that has just got the slot tags itself soon; and of two runs that look at
    # the same time, one must see what the other has done.
    time.sleep(CLAIM_SECONDS * random.uniform(1, 2))
    if is_taken(client, name) and not slot_holders(client, name):
        update = GlobalConcurrencyLimitUpdate(active_slots=0)
        client.update_global_concurrency_limit(limit_name(name), update)
        logger.warning("the slot of %s was held by no run and is released", name)


def earlier_waiting_run(client: SyncPrefectClient, name: str) -> FlowRun | None:
    """Return an earlier run of this deployment that waits for the slot, if any.

    A waiting run occupies a process, so each deployment has one at most.
    """
    if deployment.id is None:
        return None
    running = client.read_flow_runs(
        flow_run_filter=in_states(StateType.RUNNING),
        deployment_filter=this_deployment(),
    )
    own = client.read_flow_run(UUID(str(flow_run.id)))
    for run in running:
        is_earlier = (run.start_time, run.id) < (own.start_time, own.id)
        holds = limit_name(name) in run.tags
        if is_earlier and not holds and has_heartbeat(client, run):
            return run
    return None


def is_taken(client: SyncPrefectClient, name: str) -> bool:
    """Return whether the slot of a dataset is taken."""
    limit = client.read_global_concurrency_limit_by_name(limit_name(name))
    return limit.active_slots > 0


def slot_holders(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """Return the running flow runs that are tagged as holders of a dataset's slot."""
    tagged = in_states(StateType.RUNNING, tags={"all_": [limit_name(name)]})
    return client.read_flow_runs(flow_run_filter=tagged)


def has_heartbeat(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether a run has started or sent a heartbeat recently."""
    since = datetime.now(UTC) - timedelta(seconds=SILENCE_SECONDS)
    if run.start_time is None or run.start_time > since:
        return True
    path: Any = "/events/filter"  # missing from Prefect's type of paths
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


def crashed_runs(client: SyncPrefectClient, name: str) -> list[FlowRun]:
    """Return the latest crashed or cancelled runs of a dataset's deployments."""
    return client.read_flow_runs(
        flow_run_filter=in_states(StateType.CRASHED, StateType.CANCELLED),
        deployment_filter=dataset_deployments(name),
        sort=FlowRunSort.START_TIME_DESC,
        limit=MAX_ENDED_RUNS,
    )


def crash_children(client: SyncPrefectClient, parents: list[FlowRun]) -> None:
    """Mark the unfinished child runs of crashed runs as crashed.

    A Prefect worker marks the outermost run only.
    """
    if not parents:
        return
    children = in_states(
        StateType.RUNNING,
        StateType.PENDING,
        parent_flow_run_id={"any_": [parent.id for parent in parents]},
    )
    for run in client.read_flow_runs(flow_run_filter=children):
        message = "the process of its parent run was killed"
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def collapse_late_runs() -> None:
    """Cancel other late runs of this deployment, which would repeat the current one."""
    if deployment.id is None:
        return
    before_now = {"before_": datetime.now(UTC)}
    due = in_states(StateType.SCHEDULED, expected_start_time=before_now)
    with get_client(sync_client=True) as client:
        for late in client.read_flow_runs(
            flow_run_filter=due, deployment_filter=this_deployment()
        ):
            if str(late.id) == str(flow_run.id):
                continue
            client.set_flow_run_state(
                late.id,
                Cancelled(message=f"late; replaced by run {flow_run.name}"),
                force=True,
            )
            logger.info("the late run %s is cancelled: this run replaces it", late.name)


def this_deployment() -> DeploymentFilter:
    """Return a filter for the deployment of the current flow run."""
    return DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}})


def dataset_deployments(name: str) -> DeploymentFilter:
    """Return a filter for all deployments of a dataset."""
    return DeploymentFilter.model_validate({"tags": {"all_": [TAG, name]}})


def in_states(*kinds: StateType, **conditions: Any) -> FlowRunFilter:
    """Return a filter for flow runs in any of the given states.

    Args:
        *kinds: Types of the states.
        **conditions: Further conditions, by the field of Prefect's filter.
    """
    states = {"type": {"any_": list(kinds)}}
    return FlowRunFilter.model_validate({"state": states, **conditions})
