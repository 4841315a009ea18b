"""Tests of the model card."""

from mlflow import MlflowClient

from tasks.registry.model_card import constraint_lines
from tasks.registry.promotion import Promotion


def test_a_card_describes_data_scores_and_limits(first: Promotion) -> None:
    card = str(MlflowClient().get_model_version("alone", "1").description)
    assert "- **License**: not stated" in card
    assert "- **Period**: time from 2024-03-01" in card
    assert "Column nothing is not modelled" in card
    assert "How to read the scores" in card


def test_a_card_lists_constraints_with_their_exceptions() -> None:
    entry = {"column": "total", "formula": "fare + tip", "rows": 4000, "exceptions": 1}
    lines = constraint_lines({"constraints": [entry]})
    assert lines[0] == "## Constraints"
    assert "- total = fare + tip, 99.97 % (1 exception of 4,000 rows)" in lines
    assert constraint_lines({"constraints": []}) == []
