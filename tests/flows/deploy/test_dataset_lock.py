"""Tests of the lock that lets one run at a time work on a dataset."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import StateType
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.states import Running, Scheduled

from flows import steps
from flows.commands import FLOWS
from flows.deploy import dataset_lock, scheduled
from flows.process import runs
from tasks.config.root import Config
from tests.support.schedules import SAMPLED


@contextmanager
def another_run(config: Config) -> Iterator[Any]:
    """Yield a run of another deployment of the dataset that has the slot."""
    limit = dataset_lock.limit_name(config.name)
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"scheduled-score/{config.name}")
        run = client.create_flow_run_from_deployment(
            found.id, state=Running(), tags=[limit]
        )
        with concurrency(limit):
            yield run
        client.delete_flow_run(run.id)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace flows and waiting times by shorter ones."""
    monkeypatch.setattr(dataset_lock, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(dataset_lock, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(dataset_lock, "CLAIM_SECONDS", 0.0)
    monkeypatch.setattr(runs, "run_flow", lambda *_, **__: SAMPLED)


def test_a_dataset_has_one_run_at_a_time(deployed: Any, quick: None) -> None:
    config, _ = deployed
    assert scheduled.sample(config, return_state=True).is_completed()
    with another_run(config):
        state = scheduled.sample(config, return_state=True)
    assert state.is_cancelled()
    assert f"another run works on {config.name}" in state.message
    assert scheduled.sample(config, return_state=True).is_completed()


def test_one_run_of_a_deployment_waits_at_most(
    deployed: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = deployed
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"scheduled-sample/{config.name}")
        first, second = (
            client.create_flow_run_from_deployment(found.id, state=Running())
            for _ in range(2)
        )
        monkeypatch.setattr(dataset_lock, "deployment", Runtime(str(found.id)))
        monkeypatch.setattr(dataset_lock, "flow_run", Runtime(str(second.id)))
        with pytest.raises(TimeoutError, match=f"run {first.name} already waits"):
            with dataset_lock.hold(config.name, queue=True):
                pass
        # The first itself goes on, and who has the slot does not wait.
        monkeypatch.setattr(dataset_lock, "flow_run", Runtime(str(first.id)))
        with dataset_lock.hold(config.name, queue=True):
            monkeypatch.setattr(dataset_lock, "flow_run", Runtime(str(second.id)))
            with pytest.raises(TimeoutError, match="another run"):
                with dataset_lock.hold(config.name, queue=False):
                    pass
        for run in (first, second):
            client.delete_flow_run(run.id)


def test_a_slot_that_a_restarted_server_forgot_is_freed(
    deployed: Any, quick: None
) -> None:
    config, _ = deployed
    limit = dataset_lock.limit_name(config.name)
    with get_client(sync_client=True) as client:
        taken = GlobalConcurrencyLimitUpdate(active_slots=1)
        client.update_global_concurrency_limit(limit, taken)
        assert scheduled.sample(config, return_state=True).is_completed()
        assert client.read_global_concurrency_limit_by_name(limit).active_slots == 0


def test_a_run_that_died_with_its_machine_gives_its_slot_back(
    deployed: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = deployed
    monkeypatch.setattr(dataset_lock, "SILENCE_SECONDS", 0.0)
    with another_run(config) as run, get_client(sync_client=True) as client:
        inside = child_of(client, run)
        assert scheduled.sample(config, return_state=True).is_completed()
        for each in (run, inside):
            state = client.read_flow_run(each.id).state
            assert state is not None
            assert state.is_crashed()
    # Who tells that it lives is left alone.
    monkeypatch.setattr(dataset_lock, "SILENCE_SECONDS", 600.0)
    with another_run(config) as run, get_client(sync_client=True) as client:
        emit_event(
            dataset_lock.HEARTBEAT_EVENT,
            {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        )
        old = run.model_copy(update={"start_time": datetime(2026, 1, 1, tzinfo=UTC)})
        deadline = time.monotonic() + 30
        while not dataset_lock.has_heartbeat(client, old):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        silent = old.model_copy(update={"id": uuid4()})
        assert not dataset_lock.has_heartbeat(client, silent)


def child_of(client: SyncPrefectClient, run: Any) -> Any:
    """Create a running child of a run."""
    place = client.create_task_run(task(lambda: None), run.id, dynamic_key="0")
    flow = steps.as_flow(FLOWS["sample"])
    return client.create_flow_run(flow, parent_task_run_id=place.id, state=Running())


def test_late_runs_collapse_into_one(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = deployed
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"scheduled-sample/{config.name}")
        runs = [
            client.create_flow_run_from_deployment(
                found.id,
                state=Scheduled(scheduled_time=now + timedelta(hours=hours)),
            )
            for hours in (-3, -2, -1, 2)
        ]
        monkeypatch.setattr(dataset_lock, "deployment", Runtime(str(found.id)))
        monkeypatch.setattr(dataset_lock, "flow_run", Runtime(str(runs[2].id)))
        dataset_lock.collapse_late_runs()
        states = [client.read_flow_run(run.id).state for run in runs]
        for run in runs:
            client.delete_flow_run(run.id)
    kinds = [state.type for state in states if state is not None]
    assert kinds == [
        StateType.CANCELLED,
        StateType.CANCELLED,
        StateType.SCHEDULED,
        StateType.SCHEDULED,
    ]
    assert states[0] is not None
    assert "replaced by run this run" in str(states[0].message)


class Runtime:
    """Prefect's description of the current run, or of its deployment."""

    name = "this run"

    def __init__(self, id: str) -> None:
        self.id = id
