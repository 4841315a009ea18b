"""Flows of the deployments, which a Prefect worker runs unattended.

Each runs the flow of a command as the only writer of its output, sends failures and
refusals to notification blocks, and leaves no process behind.
`flows/deploy/deployments.py` deploys them.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from flows import blocks
from flows.deploy import dataset_lock
from flows.process import supervisor
from tasks.config.root import Config
from tasks.runtime import environment

if TYPE_CHECKING:
    from tasks.monitoring.monitor import MonitorResult

DRIFT_EVENT = "chainrule.drift"
"""Name of the event that a batch has drifted."""

LASTING_DRIFT_EVENT = "chainrule.drift.lasting"
"""Name of the event that `schedules.retrain_after_drift` batches in a row drifted."""

REFUSED = "Refused"
"""Name of the completed state of a run whose data or model was refused."""


def run_name() -> str:
    """Return the name of the flow run: command, dataset and planned time."""
    planned = flow_run.scheduled_start_time or datetime.now(UTC)
    command = str(flow_run.flow_name or "").removeprefix("scheduled-")
    name = config_value(flow_run.parameters, "name")
    return f"{command} {name} {planned:%Y-%m-%d %H:%M}"


def config_value(parameters: Mapping[str, Any], key: str) -> Any:
    """Return a top-level value of the configuration in the parameters of a flow run.

    Args:
        parameters: Parameters with `config`, as JSON or as a `Config`.
        key: Top-level key of the configuration.
    """
    config = parameters["config"]
    content = config.model_dump(mode="json") if isinstance(config, Config) else config
    return content.get(key)


def notify_failure(flow: Any, run: FlowRun, state: State[Any]) -> None:
    """Notify the configured blocks that a run failed or crashed (a hook of Prefect)."""
    notify(run, f"{run.name}: {state.name}: {state.message or 'no message'}")


def notify_refusal(flow: Any, run: FlowRun, state: State[Any]) -> None:
    """Notify the configured blocks of refused data or models (a hook of Prefect)."""
    if state.name == REFUSED:
        notify(run, f"{run.name}: refused: {state.message}")


def notify(run: FlowRun, message: str) -> None:
    """Send a message through every block in `schedules.notify`."""
    schedules = config_value(run.parameters, "schedules") or {}
    for slug in schedules.get("notify") or ():
        blocks.send(slug, message, {"text": message, "flow_run": str(run.id)})


OPTIONS: dict[str, Any] = {  # Prefect's type of hooks fits none
    "flow_run_name": run_name,
    "on_failure": [notify_failure],
    "on_crashed": [notify_failure],
    "on_completion": [notify_refusal],
}
"""Options of all deployed flows."""


@flow(name="scheduled-retrain", **OPTIONS)
def retrain(config: Config) -> State[Any]:
    """Prepare, train, evaluate and register a model; the better one is champion."""
    return run("retrain", config)


@flow(name="scheduled-score", **OPTIONS)
def score(config: Config, incremental: bool = True) -> State[Any]:
    """Score `score.input`.

    Args:
        config: Configuration of the dataset and the job.
        incremental: Whether only the partitions that the champion has not scored yet
            are scored.
    """
    return run("backfill" if incremental else "score", config)


@flow(name="scheduled-sample", **OPTIONS)
def sample(config: Config) -> State[Any]:
    """Draw synthetic rows from the champion."""
    return run("sample", config)


@flow(name="scheduled-monitor", **OPTIONS)
def monitor(config: Config) -> State[Any]:
    """Compare `monitor.input` with the champion's data and emit events of drift."""
    state = run("monitor", config)
    if state.is_completed():
        outcome: Any = state.data  # the outcome that `run` put there
        emit_drift(config, outcome.monitor)
    return state


def emit_drift(config: Config, monitored: "MonitorResult") -> None:
    """Emit an event for a batch that drifted, and another one if drift lasts.

    The automation that `chainrule deploy` creates listens to the second event.

    Args:
        config: Configuration with the number of batches after which drift lasts.
        monitored: Result of monitoring the batch.
    """
    # It imports pyarrow, and a run that has to wait or to give up should not.
    from tasks.monitoring import drift_streak

    drifted = monitored.verdict == "drift"
    root = f"{config.resources.storage.rstrip('/')}/{config.name}"
    batches, is_new = drift_streak.record(root, monitored.key, drifted=drifted)
    if not is_new:
        return
    resource = {
        "prefect.resource.id": resource_id(config.name),
        "prefect.resource.name": config.name,
    }
    payload = {"batches": batches, "reasons": list(monitored.reasons)}
    emit_event(DRIFT_EVENT, resource, payload=payload)
    wanted = config.schedules.retrain_after_drift
    if wanted is not None and batches % wanted == 0:
        emit_event(LASTING_DRIFT_EVENT, resource, payload=payload)


def resource_id(name: str) -> str:
    """Return the id of a dataset in Prefect's events."""
    return f"chainrule.dataset.{name}"


def run(name: str, config: Config) -> State[Any]:
    """Run the flow of a command once the dataset is free.

    Args:
        name: Name of the command.
        config: Configuration of the dataset and the job.

    Returns:
        The state in which the run ends: completed with the outcome of the flow, or
        cancelled where another run works on the dataset.
    """
    environment.configure(config.resources.storage)
    dataset_lock.collapse_late_runs()
    schedule = getattr(config.schedules, "score" if name == "backfill" else name)
    queue = config.schedules.on_overlap == "queue"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(dataset_lock.hold(config.name, queue=queue))
        except TimeoutError as error:
            return Cancelled(message=str(error))
        stack.enter_context(supervisor.reaped())
        # Ray and MLflow read their settings when they are imported; and a run that has
        # to wait or to give up should not take seconds for the import.
        from flows.process import runs

        outcome = runs.run_flow(
            name,
            config,
            timeout_seconds=schedule.timeout_seconds if schedule else None,
        )
    return Completed(
        name="Completed" if outcome.status == "done" else REFUSED,
        message=outcome.summary(),
        data=outcome,
    )
