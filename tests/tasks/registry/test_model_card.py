"""Tests of the model card."""

from mlflow import MlflowClient

from tasks.registry.promotion import Promotion


def test_a_card_describes_data_scores_and_limits(first: Promotion) -> None:
    card = str(MlflowClient().get_model_version("alone", "1").description)
    assert "- **License**: not stated" in card
    assert "- **Period**: time from 2024-03-01" in card
    assert "Column nothing is not modelled" in card
    assert "How to read the scores" in card
