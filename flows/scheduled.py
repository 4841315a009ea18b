"""The flows of deployments: what a worker runs, with nobody watching.

Each runs the flow of a command as the only writer of its output, tells blocks of
Prefect what went wrong, and leaves no process behind. `flows/deployments.py` deploys
them.
"""

import contextlib
import inspect
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed
from prefect.utilities.asyncutils import run_coro_as_sync

from flows import lifetime, turns
from tasks import environment
from tasks.config import Config

DRIFT, LASTING = "chainrule.drift", "chainrule.drift.lasting"
"""Events: a batch drifted; so many in a row did that it is time to retrain."""

REFUSED = "Refused"
"""Name of the state of a run that ended well and whose result was refused."""

Results = dict[str, Any]  # JSON-able values


def run_name() -> str:
    """What is done to which dataset, and the time for which it was planned."""
    planned = flow_run.scheduled_start_time or datetime.now(UTC)
    what = str(flow_run.flow_name or "").removeprefix("scheduled-")
    name = parameter(flow_run.parameters, "name")
    return f"{what} {name} {planned:%Y-%m-%d %H:%M}"


def parameter(parameters: Mapping[str, Any], key: str) -> Any:  # a configuration value
    """A key of the configuration in a run's parameters, as JSON or as a model."""
    given = parameters["config"]
    content = given.model_dump(mode="json") if isinstance(given, Config) else given
    return content.get(key)


def tell_failure(flow: Any, run: FlowRun, state: State[Any]) -> None:  # Prefect's hook
    """Tells the configured blocks that a run failed or crashed."""
    tell(run, f"{run.name}: {state.name}: {state.message or 'no message'}")


def tell_refusal(flow: Any, run: FlowRun, state: State[Any]) -> None:  # Prefect's hook
    """Tells the configured blocks that the new data or the new model was refused."""
    if state.name == REFUSED:
        tell(run, f"{run.name}: refused: {state.message}")


def tell(run: FlowRun, message: str) -> None:
    """Sends a message through every block under schedules.notify."""
    schedules = parameter(run.parameters, "schedules") or {}
    for slug in schedules.get("notify") or ():
        block: Any = Block.load(slug)  # of any type
        if isinstance(block, NotificationBlock):
            told: Any = block.notify(message, subject="chainrule")
        else:
            told = block.call({"text": message, "flow_run": str(run.id)})
        if inspect.isawaitable(told):  # Some blocks are only asynchronous.
            run_coro_as_sync(wait_for(told))


async def wait_for(told: Awaitable[Any]) -> Any:  # whatever the block answers
    """What a block answers."""
    return await told


FAILED: list[Any] = [tell_failure]  # Prefect's type of hooks fits none
REFUSAL: list[Any] = [tell_refusal]


@flow(
    name="scheduled-retrain",
    flow_run_name=run_name,
    on_failure=FAILED,
    on_crashed=FAILED,
    on_completion=REFUSAL,
)
def retrain(config: Config) -> State[Results]:
    """Prepares, checks, trains, judges and registers; the better model is champion."""
    return work("retrain", config)


@flow(
    name="scheduled-score",
    flow_run_name=run_name,
    on_failure=FAILED,
    on_crashed=FAILED,
)
def score(config: Config, incremental: bool = True) -> State[Results]:
    """Scores `score.input`: what the champion has not scored yet, or all of it."""
    return work("backfill" if incremental else "score", config)


@flow(
    name="scheduled-sample",
    flow_run_name=run_name,
    on_failure=FAILED,
    on_crashed=FAILED,
)
def sample(config: Config) -> State[Results]:
    """Draws synthetic rows from the champion."""
    return work("sample", config)


@flow(
    name="scheduled-monitor",
    flow_run_name=run_name,
    on_failure=FAILED,
    on_crashed=FAILED,
    on_completion=REFUSAL,
)
def monitor(config: Config) -> State[Results]:
    """Compares `monitor.input` with what the champion learned; tells of drift."""
    state = work("monitor", config)
    if state.is_completed():
        found: Any = state.data  # what `work` put there
        tell_drift(config, found["monitor"])
    return state


def tell_drift(config: Config, found: Mapping[str, Any]) -> None:
    """Emits an event for a batch that drifted, and one where drift lasts.

    To the second listens the automation that `chainrule deploy` makes.
    """
    from tasks import lasting

    drifted = found["verdict"] == "drift"
    root = storage_of(config)
    batches, new = lasting.count(root, found["key"], drifted=drifted)
    if not new:
        return
    resource = {
        "prefect.resource.id": resource_of(config.name),
        "prefect.resource.name": config.name,
    }
    payload = {"batches": batches, "reasons": list(found["reasons"])}
    emit_event(DRIFT, resource, payload=payload)
    wanted = config.schedules.retrain_after_drift
    if wanted is not None and batches % wanted == 0:
        emit_event(LASTING, resource, payload=payload)


def storage_of(config: Config) -> str:
    """The folder of all results of a dataset."""
    return f"{config.resources.storage.rstrip('/')}/{config.name}"


def resource_of(name: str) -> str:
    """What a dataset is called in events."""
    return f"chainrule.dataset.{name}"


def work(name: str, config: Config, **parameters: Any) -> State[Results]:
    """Runs a command's flow; the state that the run ends in."""
    environment.configure(config.resources.storage)
    turns.collapse_late_runs()
    schedule = getattr(config.schedules, "score" if name == "backfill" else name)
    queue = config.schedules.when_running == "queue"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(turns.turn(config.name, queue=queue))
        except TimeoutError as error:
            return Cancelled(message=str(error))
        stack.enter_context(lifetime.guard())
        # Ray and MLflow read their settings when they are imported; and who has to wait
        # or to go should not take seconds for it.
        from flows import jobs

        result = jobs.run(
            name,
            config,
            timeout_seconds=schedule.timeout_seconds if schedule else None,
            **parameters,
        )
    refused = result["status"] != "done"
    return Completed(
        name=REFUSED if refused else "Completed",
        message=jobs.verdict(result),
        data=result,
    )
