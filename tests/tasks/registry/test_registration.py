"""Tests of registered versions: tags, card, metrics."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ar_models.density.table_density import TableDensity
from tasks.registry import registration
from tasks.registry.promotion import Promotion
from tests.support.model_pair import ModelPair, register_and_gate


def test_a_version_says_where_it_comes_from(
    pair: ModelPair, first: Promotion, density: TableDensity
) -> None:
    tags = MlflowClient().get_model_version("alone", "1").tags
    assert tags["model_fingerprint"] == density.info["fingerprints"]["model"]
    assert tags["flow_run_id"] == "f"
    about = json.loads(Path(pair.prepared, "_manifest.json").read_text())
    assert tags["prepare_key"] == about["job_key"]
    assert {"train_key", "evaluate_key", "schema_fingerprint"} <= set(tags)


def test_a_version_has_a_dataset(first: Promotion) -> None:
    client = MlflowClient()
    version = client.get_model_version("alone", "1")
    (used,) = client.get_run(version.run_id).inputs.dataset_inputs
    assert used.dataset.digest == version.tags["dataset_fingerprint"]


def test_a_version_has_the_metrics_of_its_evaluation(
    pair: ModelPair, first: Promotion
) -> None:
    client = MlflowClient()
    source = str(client.get_model_version("alone", "1").source)
    model_id = source.removeprefix("models:/")
    logged = {m.key: m.value for m in client.get_logged_model(model_id).metrics}
    assert logged == pytest.approx(pair.evaluations["strong"].metrics)


def test_registering_the_same_model_again_changes_nothing(
    pair: ModelPair, first: Promotion
) -> None:
    again = register_and_gate(pair, "alone", "strong")
    assert again.version == "1"
    assert again.promoted
    assert len(MlflowClient().search_model_versions("name = 'alone'")) == 1
    champion = MlflowClient().get_model_version_by_alias("alone", "champion")
    assert str(champion.version) == "1"


def test_the_evaluation_of_another_model_is_refused(pair: ModelPair) -> None:
    with pytest.raises(ValueError, match="the evaluation of another model"):
        registration.register(
            "wrong",
            pair.models["weak"],
            pair.evaluations["strong"].path,
            pair.prepared,
            "run",
        )
