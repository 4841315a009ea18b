"""Deployments: what is made of a configuration, and only what has changed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Scheduled

from flows import deployments, jobs, scheduled
from tasks import lasting
from tasks.config import Config, Schedule

SCHEDULES = {
    "retrain": {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"},
    "score": {"interval": 3600},
    "sample": {"rrule": "FREQ=MONTHLY;BYMONTHDAY=1", "active": False},
}


def configured(name: str, schedules: dict[str, Any]) -> Config:
    return Config.model_validate(
        {"name": name, "data": {"path": "data"}, "schedules": schedules}
    )


def changes(result: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["change"] for each in result["changes"]}


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
    assert pool.type == "process"
    assert found.entrypoint == "flows.scheduled.retrain"
    assert found.parameters["config"]["data"]["path"] == str(Path("data").absolute())
    (planned,) = found.schedules
    assert planned.schedule.cron == "0 3 * * 0"
    assert planned.schedule.timezone == "Europe/Berlin"
    limit = found.global_concurrency_limit
    assert limit is not None
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
    name = deployments.automation_name("drifting")
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
    found = [lasting.count(str(tmp_path), key, drifted=d) for key, d in seen]
    assert found == [(1, True), (2, True), (2, False), (0, False), (1, True)]


@pytest.mark.parametrize(
    ("schedules", "said"),
    [
        ({}, "has no schedules"),
        ({"retrain": {"cron": "every night"}}, "schedules.retrain: 'every night'"),
        ({"retrain": {"rrule": "FREQ=NEVER"}}, "schedules.retrain: 'FREQ=NEVER'"),
        ({"retrain": {"cron": "0 3 * * *"}, "notify": ["team"]}, "TYPE/NAME"),
        (
            {"retrain": {"cron": "0 3 * * *"}, "notify": ["slack-webhook/nobody"]},
            "there is no block 'slack-webhook/nobody'",
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
    one, two = (deployments.prefect_schedule("score", schedule) for _ in range(2))
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
    refused = {"register": {"uri": "u", "alias": "challenger", "reason": "it is worse"}}
    monkeypatch.setattr(jobs, "run", lambda *_, **__: {"status": "refused", **refused})
    state = scheduled.retrain(config, return_state=True)
    assert (state.type, state.name) == (StateType.COMPLETED, "Refused")
    assert "refused: u is challenger: it is worse" in told.read_text()
    assert "retrain telling 20" in told.read_text()

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such file")

    monkeypatch.setattr(jobs, "run", fail)
    assert scheduled.sample(config, return_state=True).is_failed()
    assert "no such file" in told.read_text()
    drawn = {"status": "done", "sample": {"rows_out": 5, "path": "p"}}
    monkeypatch.setattr(jobs, "run", lambda *_, **__: drawn)
    before = told.read_text()
    assert scheduled.sample(config, return_state=True).name == "Completed"
    assert told.read_text() == before


def test_a_dataset_has_one_run_at_a_time(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = deployed
    monkeypatch.setattr(scheduled, "SECONDS", 0.5)
    inner: list[Any] = []

    def run(*_: object, **__: object) -> dict[str, Any]:
        if not inner:
            inner.append(None)
            inner[0] = scheduled.sample(config, return_state=True)
        return {"status": "done"}

    monkeypatch.setattr(jobs, "run", run)
    assert scheduled.score(config, return_state=True).is_completed()
    assert inner[0].is_cancelled()
    assert f"another run on {config.name}" in inner[0].message


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
        monkeypatch.setattr(scheduled, "deployment", Runtime(str(found.id)))
        monkeypatch.setattr(scheduled, "flow_run", Runtime(str(runs[2].id)))
        scheduled.collapse_late_runs()
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
    assert "this run stands for it" in str(states[0].message)


class Runtime:
    """What Prefect knows of the run under way, or of its deployment."""

    name = "this run"

    def __init__(self, id: str) -> None:
        self.id = id


def test_flows_of_deployments_can_be_found_by_their_entrypoints() -> None:
    config = configured("any", SCHEDULES)
    for wanted in deployments.wanted_deployments(config).values():
        module, _, name = wanted.facts["entrypoint"].rpartition(".")
        assert module == "flows.scheduled"
        assert getattr(scheduled, name) is wanted.flow
