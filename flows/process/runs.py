"""Run the flow of a command as the only writer of its output."""

import hashlib
import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.states import Crashed

from flows import batch, steps
from flows.commands import FLOWS
from flows.outcomes import Outcome
from flows.process import server
from flows.process.output_lock import OutputLock, hold_output, wait_for_lock
from tasks.config.root import Config
from tasks.registry import database
from tasks.runtime import cluster, environment, preflight, storage
from tasks.runtime.spans import span

TRAINING = ("tasks.data.prepare", "tasks.training.train", "tasks.evaluation.evaluate")
MODULES = {
    "prepare": ("tasks.data.prepare",),
    "train": TRAINING,
    "evaluate": TRAINING,
    "retrain": ("tasks.training.warm_start", *TRAINING),
    "calibrate": ("tasks.registry.downloads", *TRAINING),
    "score": ("tasks.registry.downloads", "tasks.inference.score"),
    "backfill": ("tasks.registry.downloads", "tasks.inference.backfill"),
    "monitor": ("tasks.registry.downloads", "tasks.monitoring.monitor"),
    "sample": ("tasks.registry.downloads", "tasks.inference.sample"),
    "embed": ("tasks.registry.downloads", "tasks.inference.embed"),
    "impute": ("tasks.registry.downloads", "tasks.inference.impute"),
}
"""Modules that take long to import, by the name of the command that uses them."""


def run_flow(
    name: str,
    config: Config,
    *,
    timeout_seconds: float | None = None,
    **parameters: Any,
) -> Outcome:
    """Run the flow of a command as the only writer of its output.

    Args:
        name: Name of the command.
        config: Configuration of the dataset and the job.
        timeout_seconds: Seconds after which the flow is stopped and fails; by default,
            it may take any time.
        **parameters: Further parameters of the flow.

    Raises:
        BlockingIOError: Another command writes the same output.
        OSError: The storage or a server does not answer, or a disk is full.
    """
    preflight.require(config.resources.storage)
    database.prepare_database(os.environ.get("MLFLOW_TRACKING_URI", ""))
    locks = environment.local_root(config.resources.storage) / "locks"
    flow = steps.as_flow(FLOWS[name])
    if timeout_seconds is not None:
        flow = flow.with_options(timeout_seconds=timeout_seconds)
    digest = hashlib.sha256(output_name(name, config).encode()).hexdigest()[:16]
    with hold_output(locks / f"{digest}.lock") as lock:
        digest = command_digest(name, config, parameters)
        if lock.finished != digest:  # else it is probably done, and needs no Ray
            cluster.connect_early(config.resources)
        import_steps(name)
        server.wait()
        # Two processes would both migrate the schema of a new database.
        with (
            wait_for_lock(locks / "server.lock"),
            get_client(sync_client=True) as client,
        ):
            for flow_run in lock.dead_flow_runs:
                mark_crashed(client, flow_run)
        lock.forget_dead()
        with logs_in_prefect():
            recorded = flow.with_options(on_running=[flow_run_recorder(lock)])
            with span(f"flow {name}"):
                outcome: Outcome = recorded(config=config, **parameters)
        cluster.wait_until_connected()
        lock.finished = digest
        return outcome


def command_digest(name: str, config: Config, parameters: Mapping[str, Any]) -> str:
    """Return a hash of a command and all its settings.

    Args:
        name: Name of the command.
        config: Configuration of the dataset and the job.
        parameters: Further parameters of the flow.
    """
    settings = [name, config.model_dump_json(), repr(sorted(parameters.items()))]
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()[:16]


def import_steps(name: str) -> None:
    """Import what a command will use, while its servers start.

    Args:
        name: Name of the command.
    """
    for module in MODULES.get(name, ()):
        with span(f"import {module}"):
            importlib.import_module(module)


def output_name(name: str, config: Config) -> str:
    """Return the name of a command's output for its lock.

    It is the same for every spelling of a path. Commands that write below the same
    folder share it, except for jobs with a model, which differ by command and input.

    Args:
        name: Name of the command.
        config: Configuration of the dataset and the job.
    """
    if name == "backfill":
        return storage.resolve(batch.partitions_path(config))[1]
    jobs = {
        "score": (config.score.output, config.score.input),
        "monitor": (config.monitor.output, config.monitor.input),
        "sample": (config.sample.output, config.sample.given),
        "embed": (config.embed.output, config.embed.input),
        "impute": (config.impute.output, config.impute.input),
    }
    output, source = jobs.get(name, (None, None))
    default = storage.join(config.resources.storage, config.name)
    path = storage.resolve(output or default)[1]
    return path if output or name not in jobs else f"{path} {name} {source or ''}"


@contextmanager
def logs_in_prefect() -> Iterator[None]:
    """Send what tasks log to the page of the flow run.

    Progress reports and the lines of single fragments are left out.
    """
    handler = APILogHandler()
    handler.addFilter(
        lambda record: not (hasattr(record, "progress") or hasattr(record, "fragment"))
    )
    logger = logging.getLogger("tasks")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def flow_run_recorder(lock: OutputLock) -> Callable[..., None]:
    """Return a hook of Prefect that writes the flow run's id to the lock file."""

    def record(flow: Any, flow_run: Any, state: Any) -> None:  # Prefect's signature
        lock.record(str(flow_run.id))

    return record


def mark_crashed(client: SyncPrefectClient, name: str) -> None:
    """Set the state of a flow run whose process is gone, unless it has ended.

    Args:
        client: Client of the Prefect server.
        name: Id of the flow run, as a lock file names it.
    """
    try:
        flow_run = UUID(name)
        state = client.read_flow_run(flow_run).state
    except (ObjectNotFound, ValueError):
        return  # It ran on another server, was deleted, or its id is damaged.
    if state is None or not state.is_final():
        client.set_flow_run_state(
            flow_run, Crashed(message="its process was killed"), force=True
        )
