"""How a command runs a flow: one writer, a server that is up, dead runs marked."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.states import Crashed

from flows import lifetime


def run(root: Path, output: str, flow: Flow[..., Any], **parameters: Any) -> Any:
    """Runs `flow` as the only writer of `output`; what it returns.

    Args:
        root: Local folder of the state of commands.
        output: What the flow writes to, as a path or name.
        flow: The flow.
        **parameters: Its parameters.

    Raises:
        BlockingIOError: Another command writes there.
    """
    name = hashlib.sha256(output.encode()).hexdigest()[:16]
    with lifetime.hold(root / "locks" / f"{name}.lock") as lock:
        # Two processes on a fresh database would race its migration.
        with (
            lifetime.wait_for(root / "locks" / "server.lock"),
            get_client(sync_client=True) as client,
        ):
            for dead in lock.dead_flow_runs:
                mark_crashed(client, UUID(dead))
        lock.forget_dead()
        with logs_in_prefect():
            return flow.with_options(on_running=[recorder(lock)])(**parameters)


@contextmanager
def logs_in_prefect() -> Iterator[None]:
    """Shows what tasks log, but for progress, also on the page of the flow run."""
    handler = APILogHandler()
    handler.addFilter(lambda record: not hasattr(record, "progress"))
    logger = logging.getLogger("tasks")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def recorder(lock: lifetime.Lock) -> Callable[..., None]:
    """A hook that writes down whose flow run this is."""

    def record(flow: Any, flow_run: Any, state: Any) -> None:  # Prefect's hook
        lock.record(str(flow_run.id))

    return record


def mark_crashed(client: SyncPrefectClient, flow_run: UUID) -> None:
    """Ends a flow run whose process is gone, unless it has ended."""
    try:
        state = client.read_flow_run(flow_run).state
    except ObjectNotFound:
        return  # It ran on another server, or was deleted.
    if state is None or not state.is_final():
        client.set_flow_run_state(
            flow_run, Crashed(message="its process was killed"), force=True
        )
