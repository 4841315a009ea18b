"""Tests of the deployments that a configuration describes."""

from pathlib import Path

import pytest

import chainrule_entry
from flows.deploy.specs import deployment_specs, prefect_schedule
from tasks.config.root import Config
from tasks.config.schedules import Schedule
from tests.support.schedules import SCHEDULES, with_schedules


def test_intervals_do_not_move() -> None:
    schedule = Schedule(interval=3600)
    one, two = (prefect_schedule("score", schedule) for _ in range(2))
    assert one == two


def test_flows_of_deployments_can_be_found_by_their_entrypoints() -> None:
    config = with_schedules("any", SCHEDULES)
    for wanted in deployment_specs(config).values():
        module, _, name = wanted.fields["entrypoint"].rpartition(".")
        assert module == "chainrule_entry"
        assert getattr(chainrule_entry, name) is wanted.flow


@pytest.mark.parametrize("rule", ["FREQ=DAILY", "DTSTART:20250101T000000\nFREQ=DAILY"])
def test_a_recurrence_rule_has_a_start(rule: str) -> None:
    schedule = prefect_schedule("score", Schedule(rrule=rule))
    assert str(schedule.rrule).count("DTSTART") == 1


def test_a_worker_gets_absolute_paths_only() -> None:
    config = with_schedules("any", SCHEDULES)
    sections = {"monitor": "input", "sample": "given", "fidelity": "samples"}
    content = config.model_dump(mode="json")
    for section, key in sections.items():
        content[section][key] = "below/here"
    spec = deployment_specs(Config.model_validate(content))["scheduled-score/any"]
    parameters = spec.fields["parameters"]["config"]
    for section, key in sections.items():
        assert parameters[section][key] == str(Path("below/here").absolute())
