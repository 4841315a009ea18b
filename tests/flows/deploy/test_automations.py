"""Tests of the automation that retrains a model when drift lasts."""

from prefect.client.orchestration import get_client

from flows.deploy import deployments
from flows.deploy.automations import automation_name
from tests.support.schedules import changes, with_schedules


def test_lasting_drift_gets_an_automation(server: None) -> None:
    schedules = {
        "retrain": {"cron": "0 3 * * 0"},
        "monitor": {"cron": "0 2 * * *"},
        "retrain_after_drift": 3,
    }
    config = with_schedules("drifting", schedules)
    name = automation_name("drifting")
    assert changes(deployments.deploy(config))[name] == "create"
    assert changes(deployments.deploy(config))[name] == "unchanged"
    with get_client(sync_client=True) as client:
        (found,) = client.read_automations_by_name(name)
        retrain = client.read_deployment_by_name("scheduled-retrain/drifting")
    assert found.trigger.expect == {"chainrule.drift.lasting"}
    assert found.actions[0].deployment_id == retrain.id
    del schedules["retrain_after_drift"]
    assert changes(deployments.deploy(with_schedules("drifting", schedules)))[name] == (
        "delete"
    )
    deployments.undeploy("drifting")
