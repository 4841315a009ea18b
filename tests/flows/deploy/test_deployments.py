"""Tests of deployments: created from a configuration, and changed only as needed."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from flows.deploy import dataset_lock, deployments
from tests.support.schedules import SCHEDULES, changes, with_schedules


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
    assert found.entrypoint == "chainrule_entry.retrain"
    assert found.parameters["config"]["data"]["path"] == str(Path("data").absolute())
    (planned,) = found.schedules
    assert planned.schedule.cron == "0 3 * * 0"
    assert planned.schedule.timezone == "Europe/Berlin"
    assert limit.limit == 1
    assert {"chainrule", config.name, "retrain"} <= set(found.tags)
    form = found.parameter_openapi_schema["definitions"]["TrainConfig"]["properties"]
    assert form["epochs"]["default"] == "auto"


def test_what_has_not_changed_is_left_alone(deployed: Any) -> None:
    config, _ = deployed
    assert set(changes(deployments.deploy(config)).values()) == {"unchanged"}
    other = dict(SCHEDULES, retrain={"cron": "0 4 * * 0"})
    del other["sample"]
    changed = with_schedules(config.name, other)
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
        deployments.deploy(with_schedules("wrong", schedules))
