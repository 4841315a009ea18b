import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.evaluation import evaluate
from tasks.runtime.model_store import load
from tests.support.model_pair import ModelPair


@pytest.fixture(scope="module")
def found(pair: ModelPair) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        Path(pair.evaluations["strong"].path, "evaluation.json").read_text()
    )
    return content


@pytest.fixture(scope="module")
def test_rows(pair: ModelPair) -> pa.Table:
    paths = sorted(Path(pair.prepared, "test").glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])


def test_test_nll_is_the_mean_over_the_raw_test_rows(
    pair: ModelPair, found: dict[str, Any], test_rows: pa.Table
) -> None:
    density = load(pair.models["strong"])
    log_prob = density.log_prob(test_rows)
    assert found["rows"] == len(test_rows)
    assert found["nll"] == pytest.approx(-log_prob.mean(), abs=1e-4)
    rows = evaluate.read_rows(pair.evaluations["strong"].path)
    np.testing.assert_allclose(rows["log_prob"], log_prob, atol=1e-4)


def test_columns_add_up_to_the_row(found: dict[str, Any]) -> None:
    for name in ("nll", "independent_nll", "gain"):
        total = sum(column[name] for column in found["columns"])
        assert total == pytest.approx(found[name], abs=1e-6)


def test_bits_are_per_modelled_column(found: dict[str, Any]) -> None:
    assert found["dim"] == 5
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / 5 / math.log(2))


def test_what_was_learned_shows_as_a_gain(
    pair: ModelPair, found: dict[str, Any]
) -> None:
    low, high = found["gain_interval"]
    assert 0.5 < low < found["gain"] < high
    weak = pair.evaluations["weak"].metrics["test/gain"]
    assert weak < found["gain"] - 0.5
    columns = {column["name"]: column for column in found["columns"]}
    # The first column has nothing before it that it could be learned from.
    assert abs(columns["kind <b>"]["gain"]) < 0.05
    assert columns["large"]["gain"] > 0.3


def test_metrics_have_their_names(pair: ModelPair, found: dict[str, Any]) -> None:
    metrics = pair.evaluations["strong"].metrics
    assert metrics["test/nll"] == found["nll"]
    assert metrics["test/bits_per_dim"] == found["bits_per_dim"]
    assert set(metrics) >= {"test/independent_nll", "test/gain", "test/p_value_ks"}


def test_p_values_of_test_rows_are_nearly_uniform(found: dict[str, Any]) -> None:
    # 600 rows against 600: the distance is beyond 0.11 once in 1000 seeds.
    assert found["p_value_ks"] < 0.11


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "_manifest.json"
    }


def test_a_finished_evaluation_is_not_done_again(
    pair: ModelPair, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(pair.evaluations["strong"].path, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = pair.evaluate("strong", folder)
    assert again.done
    assert again.metrics == pair.evaluations["strong"].metrics
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_killed_evaluation_is_completed_to_the_same_files(
    pair: ModelPair, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(pair.evaluations["strong"].path, folder)
    whole = contents(folder)
    key = json.loads((folder / "_manifest.json").read_text())["job_key"]
    claim = {"job_key": key, "started": "2024-01-01T00:00:00+00:00"}
    (folder / "_job.json").write_text(json.dumps(claim))
    shutil.rmtree(folder / "figures")
    shutil.rmtree(folder / "independent")
    for name in ("_manifest.json", "evaluation.json", "rows/part-00001.parquet"):
        (folder / name).unlink()
    kept = (folder / "rows" / "part-00000.parquet").stat().st_mtime_ns
    assert not pair.evaluate("strong", folder).done
    assert contents(folder) == whole
    assert (folder / "rows" / "part-00000.parquet").stat().st_mtime_ns == kept


def test_another_jobs_folder_is_refused(pair: ModelPair) -> None:
    with pytest.raises(FileExistsError, match="holds the output of another job"):
        pair.evaluate("weak", pair.evaluations["strong"].path)


def test_figures_are_images_of_some_size(pair: ModelPair) -> None:
    folder = Path(pair.evaluations["strong"].path, "figures")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    names = {"calibration.png", "columns.png", "p_values.png", "scores.png"}
    assert set(sizes) == names
    assert min(sizes.values()) > 5000
