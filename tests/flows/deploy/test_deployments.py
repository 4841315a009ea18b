"""Deployments: what is made of a configuration, and only what has changed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import task
from prefect.blocks.abstract import NotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import StateType
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.states import Running, Scheduled

from flows.deploy import dataset_lock, deployments, scheduled
from flows.deploy.automations import automation_name
from flows.deploy.deployments import DeployOutcome
from flows.deploy.specs import deployment_specs, prefect_schedule
from flows.outcomes import RetrainOutcome, SampleOutcome
from flows.process import runs
from tasks.config.root import Config
from tasks.config.schedules import Schedule
from tasks.inference.sample import SampleResult
from tasks.monitoring import drift_streak
from tasks.registry.data_validation import ValidationResult
from tasks.registry.promotion import Promotion

SCHEDULES = {
    "retrain": {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"},
    "score": {"interval": 3600},
    "sample": {"rrule": "FREQ=MONTHLY;BYMONTHDAY=1", "active": False},
}


VALID = ValidationResult(
    passed=True, needs_review=False, reason="", checks=(), valid=True, reference=None
)
SAMPLED = SampleOutcome(
    model={},
    sample=SampleResult(
        path="p", key="k", done=False, seconds=1.0, rows_out=5, rows_per_s=5.0
    ),
)


def configured(name: str, schedules: dict[str, Any]) -> Config:
    return Config.model_validate(
        {"name": name, "data": {"path": "data"}, "schedules": schedules}
    )


def changes(outcome: DeployOutcome) -> dict[str, str]:
    return {each.name: each.change for each in outcome.changes}


@pytest.fixture
def deployed(server: None, request: pytest.FixtureRequest) -> Any:
    """A deployed configuration of this test's name, deleted afterwards."""
    config = configured(request.node.name.replace("_", "-"), SCHEDULES)
    yield config, deployments.deploy(config)
    deployments.undeploy(config.name)


def test_each_schedule_becomes_a_deployment(deployed: Any) -> None:
    config, result = deployed
    made = changes(result)
    assert {name for name, change in made.items() if change == "create"} >= {
        f"scheduled-{kind}/{config.name}" for kind in ("retrain", "score", "sample")
    }
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"scheduled-retrain/{config.name}")
        pool = client.read_work_pool("chainrule")
        name = dataset_lock.limit_name(config.name)
        limit = client.read_global_concurrency_limit_by_name(name)
    assert pool.type == "process"
    assert found.entrypoint == "flows.deploy.scheduled.retrain"
    assert found.parameters["config"]["data"]["path"] == str(Path("data").absolute())
    (planned,) = found.schedules
    assert planned.schedule.cron == "0 3 * * 0"
    assert planned.schedule.timezone == "Europe/Berlin"
    assert limit.limit == 1
    assert {"chainrule", config.name, "retrain"} <= set(found.tags)
    form = found.parameter_openapi_schema["definitions"]["TrainConfig"]["properties"]
    assert form["epochs"]["type"] == "integer"


def test_what_has_not_changed_is_left_alone(deployed: Any) -> None:
    config, _ = deployed
    assert set(changes(deployments.deploy(config)).values()) == {"unchanged"}
    other = dict(SCHEDULES, retrain={"cron": "0 4 * * 0"})
    del other["sample"]
    changed = configured(config.name, other)
    tried = deployments.deploy(changed, dry_run=True)
    expected = {
        f"scheduled-retrain/{config.name}": "update",
        f"scheduled-score/{config.name}": "update",  # Its parameters hold schedules.
        f"scheduled-sample/{config.name}": "delete",
    }
    assert changes(tried) == expected
    assert changes(deployments.deploy(changed)) == expected
    assert set(changes(deployments.deploy(changed)).values()) == {"unchanged"}


def test_undeploy_deletes_what_deploy_made(deployed: Any) -> None:
    config, _ = deployed
    assert len(changes(deployments.undeploy(config.name, dry_run=True))) == 3
    assert set(changes(deployments.undeploy(config.name)).values()) == {"delete"}
    assert changes(deployments.undeploy(config.name)) == {}


def test_lasting_drift_gets_an_automation(server: None) -> None:
    schedules = {
        "retrain": {"cron": "0 3 * * 0"},
        "monitor": {"cron": "0 2 * * *"},
        "retrain_after_drift": 3,
    }
    config = configured("drifting", schedules)
    name = automation_name("drifting")
    assert changes(deployments.deploy(config))[name] == "create"
    assert changes(deployments.deploy(config))[name] == "unchanged"
    with get_client(sync_client=True) as client:
        (found,) = client.read_automations_by_name(name)
        retrain = client.read_deployment_by_name("scheduled-retrain/drifting")
    assert found.trigger.expect == {"chainrule.drift.lasting"}
    assert found.actions[0].deployment_id == retrain.id
    del schedules["retrain_after_drift"]
    assert changes(deployments.deploy(configured("drifting", schedules)))[name] == (
        "delete"
    )
    deployments.undeploy("drifting")


def test_batches_in_a_row_are_counted_once_each(tmp_path: Path) -> None:
    seen = [("a", True), ("b", True), ("b", True), ("c", False), ("d", True)]
    found = [drift_streak.record(str(tmp_path), key, drifted=d) for key, d in seen]
    assert found == [(1, True), (2, True), (2, False), (0, False), (1, True)]


@pytest.mark.parametrize(
    ("schedules", "said"),
    [
        ({}, "the configuration has no schedules"),
        ({"retrain": {"cron": "every night"}}, "schedules.retrain: 'every night'"),
        ({"retrain": {"rrule": "FREQ=NEVER"}}, "schedules.retrain: 'FREQ=NEVER'"),
        ({"retrain": {"cron": "0 3 * * *"}, "notify": ["team"]}, "TYPE/NAME"),
        (
            {"retrain": {"cron": "0 3 * * *"}, "notify": ["slack-webhook/nobody"]},
            "the block 'slack-webhook/nobody' does not exist",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_told(
    server: None, schedules: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        deployments.deploy(configured("wrong", schedules))


def test_intervals_do_not_move() -> None:
    schedule = Schedule(interval=3600)
    one, two = (prefect_schedule("score", schedule) for _ in range(2))
    assert one == two


class Noted(NotificationBlock):
    """Keeps what it was told in a file."""

    _block_type_slug = "noted"
    path: str

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override]
        with open(self.path, "a") as file:
            file.write(f"{body}\n")


@pytest.fixture
def noted(server: None, tmp_path: Path) -> Any:
    Noted(path=str(tmp_path / "told")).save("here", overwrite=True)
    return configured("telling", {"notify": ["noted/here"]}), tmp_path / "told"


def test_refusals_and_failures_are_told(
    noted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, told = noted
    register = Promotion(
        version="2",
        uri="u",
        alias="challenger",
        promoted=False,
        reason="it is worse",
        needs_review=False,
    )
    refused = RetrainOutcome(
        status="refused", start={}, prepare={}, data_validation=VALID, register=register
    )
    monkeypatch.setattr(runs, "run_flow", lambda *_, **__: refused)
    state = scheduled.retrain(config, return_state=True)
    assert (state.type, state.name) == (StateType.COMPLETED, "Refused")
    assert "refused: u is challenger: it is worse" in told.read_text()
    assert "retrain telling 20" in told.read_text()

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such file")

    monkeypatch.setattr(runs, "run_flow", fail)
    assert scheduled.sample(config, return_state=True).is_failed()
    assert "no such file" in told.read_text()
    monkeypatch.setattr(runs, "run_flow", lambda *_, **__: SAMPLED)
    before = told.read_text()
    assert scheduled.sample(config, return_state=True).name == "Completed"
    assert told.read_text() == before


@contextmanager
def another_run(config: Config) -> Iterator[Any]:
    """A run of another deployment of the dataset, which has the slot."""
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
    """Nothing is done, and nothing is waited for."""
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
    """A run within another one, under way."""
    place = client.create_task_run(task(lambda: None), run.id, dynamic_key="0")
    flow = runs.FLOWS["sample"]
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
    """What Prefect knows of the run under way, or of its deployment."""

    name = "this run"

    def __init__(self, id: str) -> None:
        self.id = id


def test_flows_of_deployments_can_be_found_by_their_entrypoints() -> None:
    config = configured("any", SCHEDULES)
    for wanted in deployment_specs(config).values():
        module, _, name = wanted.fields["entrypoint"].rpartition(".")
        assert module == "flows.deploy.scheduled"
        assert getattr(scheduled, name) is wanted.flow
