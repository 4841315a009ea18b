"""Tests of promotion: by the gate, by hand, and back again."""

import pytest
from mlflow import MlflowClient

from tasks.registry import (
    promotion,
)
from tasks.registry.promotion import Promotion
from tests.support.model_pair import ModelPair, register_and_gate


def aliases(name: str) -> dict[str, str]:
    found = MlflowClient().get_registered_model(name).aliases
    return {alias: str(number) for alias, number in found.items()}


def test_the_first_version_becomes_champion(first: Promotion) -> None:
    assert first.version == "1"
    assert (first.alias, first.promoted) == ("champion", True)
    assert aliases("alone") == {"champion": "1"}


def test_a_better_model_becomes_champion(pair: ModelPair) -> None:
    register_and_gate(pair, "rising", "weak")
    found = register_and_gate(pair, "rising", "strong")
    assert found.promoted
    assert aliases("rising") == {"champion": "2", "previous": "1"}


def test_a_model_that_is_not_better_stays_challenger(pair: ModelPair) -> None:
    register_and_gate(pair, "falling", "strong")
    found = register_and_gate(pair, "falling", "weak")
    assert not found.promoted
    assert found.alias == "challenger"
    assert "does not lie above 0" in found.reason
    assert aliases("falling") == {"champion": "1", "challenger": "2"}
    assert not register_and_gate(pair, "falling", "weak").promoted
    assert len(MlflowClient().search_model_versions("name = 'falling'")) == 2


def test_the_gate_may_ask_for_more(pair: ModelPair) -> None:
    register_and_gate(pair, "asking", "weak")
    found = register_and_gate(pair, "asking", "strong", min_improvement=100.0)
    assert not found.promoted
    assert aliases("asking") == {"champion": "1", "challenger": "2"}


def test_a_version_says_what_the_gate_said(pair: ModelPair) -> None:
    register_and_gate(pair, "telling", "strong")
    found = register_and_gate(pair, "telling", "weak")
    client = MlflowClient()
    tags = client.get_model_version("telling", found.version).tags
    assert tags["validation_status"] == "rejected"
    assert "does not lie above 0" in tags["validation_reason"]
    assert tags["parent_version"] == "1"
    run = client.get_run(client.get_model_version("telling", "2").run_id)
    assert run.data.metrics["gate/improvement"] < 0
    assert run.data.metrics["gate/improvement_passed"] == 0
    assert run.data.metrics["gate/column/count_passed"] in (0, 1)


def test_a_person_may_promote_what_the_gate_refused(pair: ModelPair) -> None:
    register_and_gate(pair, "asked", "strong")
    register_and_gate(pair, "asked", "weak")
    moved = promotion.promote("asked", "2", "we know better")
    assert (moved.champion, moved.previous) == ("2", "1")
    assert aliases("asked") == {"champion": "2", "previous": "1"}
    tags = MlflowClient().get_model_version("asked", "2").tags
    assert tags["promoted_reason"] == "we know better"
    assert tags["validation_status"] == "promoted manually"
    assert {"promoted_by", "promoted_at"} <= set(tags)
    assert register_and_gate(pair, "asked", "weak").reason == "already the champion"
    assert promotion.promote("asked", "2", "again").done


def test_a_rollback_restores_the_previous_champion_for_good(
    pair: ModelPair,
) -> None:
    register_and_gate(pair, "back", "weak")
    register_and_gate(pair, "back", "strong")
    moved = promotion.rollback("back", "it flagged half of Sunday")
    assert (moved.champion, moved.rolled_back) == ("1", "2")
    assert aliases("back") == {"champion": "1"}
    again = register_and_gate(pair, "back", "strong")
    assert not again.promoted
    assert "it flagged half of Sunday" in again.reason
    assert again.needs_review
    promotion.promote("back", "2", "it was Sunday's fault")
    assert register_and_gate(pair, "back", "strong").promoted
    assert aliases("back") == {"champion": "2", "previous": "1"}


def test_rollbacks_go_back_step_by_step(pair: ModelPair) -> None:
    register_and_gate(pair, "steps", "weak")
    register_and_gate(pair, "steps", "strong")
    client = MlflowClient()
    source = str(client.get_model_version("steps", "2").source)
    client.create_model_version("steps", source)
    promotion.promote("steps", "3", "a copy")
    assert promotion.rollback("steps", "once").previous == "1"
    assert promotion.rollback("steps", "twice").champion == "1"
    with pytest.raises(ValueError, match="no previous champion"):
        promotion.rollback("steps", "thrice")


@pytest.mark.parametrize(
    ("name", "number", "reason", "said"),
    [
        ("alone", "9", "why", "alone has no version '9'; available versions: 1"),
        ("nobody", "1", "why", "no model named 'nobody' is registered"),
        ("alone", "1", " ", "--reason is empty"),
    ],
)
def test_a_promotion_of_nothing_is_told(
    first: Promotion, name: str, number: str, reason: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        promotion.promote(name, number, reason)


def test_a_rollback_of_nothing_is_told(first: Promotion) -> None:
    with pytest.raises(ValueError, match="no previous champion"):
        promotion.rollback("alone", "why")
    with pytest.raises(ValueError, match="no model named 'nobody' is registered"):
        promotion.rollback("nobody", "why")
