"""Tests of outcomes: their JSON, its schema and their summaries."""

import json
from dataclasses import asdict

import pytest
from pydantic import TypeAdapter

from flows import outcomes
from flows.outcomes import Outcome
from tests.support.schedules import REFUSED, SAMPLED

OUTCOMES = [
    value
    for value in vars(outcomes).values()
    if isinstance(value, type) and issubclass(value, Outcome)
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda kind: kind.__name__)
def test_an_outcome_has_a_json_schema(outcome: type[Outcome]) -> None:
    properties = TypeAdapter(outcome).json_schema()["properties"]
    assert properties["status"]["enum"] == ["done", "refused", "drift"]


@pytest.mark.parametrize("outcome", [REFUSED, SAMPLED])
def test_the_json_of_an_outcome_gives_it_back(outcome: Outcome) -> None:
    content = json.loads(json.dumps(asdict(outcome)))
    assert TypeAdapter(type(outcome)).validate_python(content) == outcome


def test_a_step_that_did_not_run_is_null() -> None:
    assert asdict(REFUSED)["gate"] is None


def test_a_summary_says_what_came_out() -> None:
    assert SAMPLED.summary() == "5 rows in p"
    assert REFUSED.summary() == "models:/a/2 is challenger: it is worse"
    assert Outcome(status="drift").summary() == "drift"
