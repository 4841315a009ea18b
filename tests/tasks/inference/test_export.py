"""Models as ONNX: the same numbers, or nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.registry import MODELS, build
from tasks.data.prepared import read_encoder
from tasks.inference import export
from tests.support.constraints import fares, fares_density

SMALL: dict[str, dict[str, Any]] = {
    "fvsbn": {"orderings": 2, "ordering": "random"},
    "independent": {},
    "made": {"hidden": 16, "layers": 1},
    "rnn": {"hidden": 8},
    "transformer": {"hidden": 8, "layers": 1, "heads": 1},
}


@pytest.fixture(scope="module")
def rows(prepared: str) -> pa.Table:
    return pq.read_table(f"{prepared}/test")


def test_there_is_a_case_for_every_family() -> None:
    assert set(SMALL) == set(export.FAMILIES) < set(MODELS)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=() if name == "made" else pytest.mark.slow)
        for name in export.FAMILIES
    ],
)
def test_onnxruntime_gives_the_numbers_of_the_density(
    family: str, prepared: str, rows: pa.Table, tmp_path: Path
) -> None:
    encoder = read_encoder(prepared)
    torch.manual_seed(0)
    density = TableDensity(encoder, build(family, encoder.variables, **SMALL[family]))
    for parameter in density.model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    save_density(density, tmp_path / "model")
    result = export.export(str(tmp_path / "model"), str(tmp_path / "model.onnx"))
    assert result.bytes == (tmp_path / "model.onnx").stat().st_size
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    encoded = encoder.encode(rows)
    log_prob, columns = session.run(
        None, {"x": encoded.x, "log_abs_det": encoded.log_abs_det}
    )
    np.testing.assert_allclose(columns, density.column_log_prob(rows), atol=1e-4)
    np.testing.assert_allclose(log_prob, density.log_prob(rows), atol=1e-4)


@pytest.mark.slow
def test_constraints_are_part_of_the_encoding_and_not_of_the_file(
    tmp_path: Path,
) -> None:
    density = fares_density("made")
    save_density(density, tmp_path / "model")
    export.export(str(tmp_path / "model"), str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    rows = fares(100, seed=4)
    encoded = density.encoder.encode(rows)
    _, columns = session.run(None, {"x": encoded.x, "log_abs_det": encoded.log_abs_det})
    np.testing.assert_allclose(columns, density.column_log_prob(rows), atol=1e-4)


def test_a_file_says_what_its_inputs_are(small_model: str, tmp_path: Path) -> None:
    export.export(small_model, str(tmp_path / "model.onnx"))
    model = onnx.load(str(tmp_path / "model.onnx"))
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    density = load_density(Path(small_model))
    assert {"chainrule.columns", "chainrule.variables", "chainrule.encoder"} <= set(
        said
    )
    assert density.info["fingerprints"]["model"] in said["chainrule.fingerprints"]
    assert [entry.name for entry in model.graph.input] == ["x", "log_abs_det"]


def test_a_family_that_cannot_be_exported_is_told(
    prepared: str, tmp_path: Path
) -> None:
    encoder = read_encoder(prepared)
    model = build("vae", encoder.variables, hidden=8, latent=2)
    save_density(TableDensity(encoder, model), tmp_path / "model")
    with pytest.raises(ValueError, match="family vae cannot be .* fvsbn, independent"):
        export.export(str(tmp_path / "model"), str(tmp_path / "model.onnx"))


def test_numbers_that_differ_are_not_written(
    small_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = export.build_graph

    def other(density: TableDensity) -> bytes:
        moved = load_density(Path(small_model))
        weight = next(moved.model.parameters())
        weight.data += 0.01
        return graph(moved)

    monkeypatch.setattr(export, "build_graph", other)
    with pytest.raises(ValueError, match="not written, since onnxruntime's .* differ"):
        export.export(small_model, str(tmp_path / "model.onnx"))
    assert not (tmp_path / "model.onnx").exists()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "REQUIRED_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match=r"needs no_such_package: pip install 'chain"):
        export.check_packages()
