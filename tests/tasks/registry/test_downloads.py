"""Tests of the download of registered versions."""

from pathlib import Path

from ar_models.density.saved_form import load_density
from ar_models.density.table_density import TableDensity
from tasks.registry import (
    downloads,
)
from tasks.registry.promotion import Promotion
from tests.support.model_pair import ModelPair


def test_download_resolves_an_alias_once(
    first: Promotion, density: TableDensity, storage_root: str
) -> None:
    model = downloads.download("models:/alone@champion", storage_root)
    assert (model.info.name, model.info.version) == ("alone", "1")
    assert model.info.fingerprint == density.info["fingerprints"]["model"]
    loaded = load_density(Path(model.folder))
    assert loaded.info == density.info
    assert downloads.download("models:/alone/1", storage_root) == model


def test_a_model_folder_needs_no_registry(pair: ModelPair, storage_root: str) -> None:
    model = downloads.download(pair.models["strong"], storage_root)
    assert model.folder == pair.models["strong"]
    assert model.info.version is None
