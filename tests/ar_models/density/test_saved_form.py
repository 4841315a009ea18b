import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from tests.support.constraints import fares_density
from tests.support.densities import sample_table, score_table, table_density


def test_save_and_load_agree(
    density: TableDensity, rows: pa.Table, tmp_path: Path
) -> None:
    save_density(density, tmp_path)
    loaded = load_density(tmp_path)
    assert score_table(loaded, rows).equals(score_table(density, rows))
    assert loaded.info["name"] == "flights"
    assert loaded.info["fingerprints"]["dataset"] == "abc"
    save_density(loaded, tmp_path / "again")
    for name in (
        "model.json",
        "weights.safetensors",
        "calibration.parquet",
        "nearness.safetensors",
    ):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / name).read_bytes()


def test_constraints_are_saved_with_the_encoder(tmp_path: Path) -> None:
    density = fares_density("made")
    save_density(density, tmp_path)
    loaded = load_density(tmp_path)
    rows = sample_table(loaded, 50, seed=1)
    assert rows.equals(sample_table(density, 50, seed=1))
    assert score_table(loaded, rows).equals(score_table(density, rows))


def test_other_calibration_rows_make_another_model(
    density: TableDensity, rows: pa.Table, tmp_path: Path
) -> None:
    fewer = {name: values[:-1] for name, values in density.calibration.items()}
    other = TableDensity(density.encoder, density.model, fewer)
    found = {}
    for name, one in (("one", density), ("same", density), ("other", other)):
        save_density(one, tmp_path / name)
        info = load_density(tmp_path / name).info
        found[name] = info["fingerprints"]["model"]
    assert found["one"] == found["same"] != found["other"]


def damage(folder: Path, name: str, kept: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:kept])


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_folder_that_lacks_a_file_is_named(
    density: TableDensity, tmp_path: Path, name: str
) -> None:
    save_density(density, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_density(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.json",
        "weights.safetensors",
        "calibration.parquet",
        "nearness.safetensors",
    ],
)
def test_a_truncated_file_is_named(
    density: TableDensity, tmp_path: Path, name: str
) -> None:
    save_density(density, tmp_path)
    damage(tmp_path, name, kept=100)
    with pytest.raises(ValueError, match=f"{name}: is damaged"):
        load_density(tmp_path)


def test_weights_of_another_model_are_refused(
    density: TableDensity, tmp_path: Path
) -> None:
    save_density(density, tmp_path)
    other = table_density(seed=1, orderings=1)
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    save_density(other, tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").rename(
        tmp_path / "weights.safetensors"
    )
    with pytest.raises(ValueError, match="belongs to another model"):
        load_density(tmp_path)


def test_an_unknown_format_is_refused(density: TableDensity, tmp_path: Path) -> None:
    save_density(density, tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99, this version reads 2"):
        load_density(tmp_path)
