import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from judging import Judged

from ar_models.autoregressive import AutoregressiveModel
from ar_models.made import MADE
from ar_models.variables import Variable
from tasks import baseline, evaluate, report
from tasks.config import EvaluateConfig, Resources
from tasks.intervals import binned_distance, distance, interval
from tasks.models import load
from tasks.transforms import count, transforms

CONFIG = EvaluateConfig(bootstrap=200)


@pytest.fixture(scope="module")
def found(judged: Judged) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        Path(judged.evaluations["strong"]["path"], "evaluation.json").read_text()
    )
    return content


@pytest.fixture(scope="module")
def test_rows(judged: Judged) -> pa.Table:
    paths = sorted(Path(judged.prepared, "test").glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])


def test_test_nll_is_the_mean_over_the_raw_test_rows(
    judged: Judged, found: dict[str, Any], test_rows: pa.Table
) -> None:
    density = load(judged.models["strong"])
    log_prob = density.log_prob(test_rows)
    assert found["rows"] == len(test_rows)
    assert found["nll"] == pytest.approx(-log_prob.mean(), abs=1e-4)
    rows = evaluate.read_rows(judged.evaluations["strong"]["path"])
    np.testing.assert_allclose(rows["log_prob"], log_prob, atol=1e-4)


def test_columns_add_up_to_the_row(found: dict[str, Any]) -> None:
    for name in ("nll", "independent_nll", "gain"):
        total = sum(column[name] for column in found["columns"])
        assert total == pytest.approx(found[name], abs=1e-6)


def test_bits_are_per_modelled_column(found: dict[str, Any]) -> None:
    assert found["dim"] == 5
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / 5 / math.log(2))


def test_what_was_learned_shows_as_a_gain(
    judged: Judged, found: dict[str, Any]
) -> None:
    low, high = found["gain_interval"]
    assert 0.5 < low < found["gain"] < high
    weak = judged.evaluations["weak"]["metrics"]["test/gain"]
    assert weak < found["gain"] - 0.5
    columns = {column["name"]: column for column in found["columns"]}
    # The first column has nothing before it that it could be learned from.
    assert abs(columns["kind <b>"]["gain"]) < 0.05
    assert columns["large"]["gain"] > 0.3


def test_metrics_have_their_names(judged: Judged, found: dict[str, Any]) -> None:
    metrics = judged.evaluations["strong"]["metrics"]
    assert metrics["test/nll"] == found["nll"]
    assert metrics["test/bits_per_dim"] == found["bits_per_dim"]
    assert set(metrics) >= {"test/independent_nll", "test/gain", "test/p_value_ks"}


def test_p_values_of_test_rows_are_nearly_uniform(found: dict[str, Any]) -> None:
    # 600 rows against 600: the distance is beyond 0.11 once in 1000 seeds.
    assert found["p_value_ks"] < 0.11


def evaluated_again(judged: Judged, folder: Path) -> dict[str, Any]:
    return evaluate.evaluate(
        judged.models["strong"], judged.prepared, str(folder), CONFIG, Resources()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "_manifest.json"
    }


def test_a_finished_evaluation_is_not_done_again(
    judged: Judged, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(judged.evaluations["strong"]["path"], folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = evaluated_again(judged, folder)
    assert again["done"]
    assert again["metrics"] == judged.evaluations["strong"]["metrics"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_killed_evaluation_is_completed_to_the_same_files(
    judged: Judged, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(judged.evaluations["strong"]["path"], folder)
    whole = contents(folder)
    key = json.loads((folder / "_manifest.json").read_text())["job_key"]
    claim = {"job_key": key, "started": "2024-01-01T00:00:00+00:00"}
    (folder / "_job.json").write_text(json.dumps(claim))
    shutil.rmtree(folder / "figures")
    shutil.rmtree(folder / "independent")
    for name in ("_manifest.json", "evaluation.json", "rows/part-00001.parquet"):
        (folder / name).unlink()
    kept = (folder / "rows" / "part-00000.parquet").stat().st_mtime_ns
    assert not evaluated_again(judged, folder)["done"]
    assert contents(folder) == whole
    assert (folder / "rows" / "part-00000.parquet").stat().st_mtime_ns == kept


def test_another_jobs_folder_is_refused(judged: Judged) -> None:
    with pytest.raises(FileExistsError, match="holds the output of another job"):
        evaluate.evaluate(
            judged.models["weak"],
            judged.prepared,
            judged.evaluations["strong"]["path"],
            CONFIG,
            Resources(),
        )


def test_without_test_rows_there_is_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="data.split.test"):
        evaluate.test_pieces("prepared", {"files": [{"path": "test/a", "rows": 0}]})


def mixed_model() -> AutoregressiveModel:
    """A column of each kind and one of a state, an integer and a digit."""
    torch.manual_seed(0)
    variables = (
        Variable("code", "categorical", group=0, size=3),
        Variable("state", "categorical", group=1, size=2),
        Variable("integer", "integer", 1, parent=1, scale=5, lower=0, knots=(0, 9, 20)),
        Variable("digit", "categorical", 1, size=4, parent=1),
        Variable("real", "real", group=2),
        Variable("flag", "binary", group=3, size=2),
    )
    model = MADE(variables, hidden=16, components=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def test_transforms_of_a_models_own_samples_are_uniform() -> None:
    model = mixed_model()
    x = model.sample(4000, generator=torch.Generator().manual_seed(1))
    noise = np.random.default_rng(0).random((len(x), 4))
    with torch.inference_mode():
        u = transforms(model.conditionals(x), x, model.variables, noise)
    for column in u.T:
        # Kolmogorov-Smirnov with 4000 rows: beyond 0.036 once in 10,000 seeds.
        assert distance(column) < 0.036
        assert binned_distance(count(column, 1000)) == pytest.approx(
            distance(column), abs=2e-3
        )


def test_transforms_of_other_rows_are_not_uniform() -> None:
    model = mixed_model()
    x = model.sample(4000, generator=torch.Generator().manual_seed(1))
    x[:, 4] += 1
    noise = np.random.default_rng(0).random((len(x), 4))
    with torch.inference_mode():
        u = transforms(model.conditionals(x), x, model.variables, noise)
    assert distance(u[:, 2]) > 0.1


def test_distances_by_hand() -> None:
    assert distance(np.array([0.5])) == 0.5
    assert distance(np.array([0.1, 0.2])) == pytest.approx(0.8)
    assert binned_distance(np.array([4, 0])) == 0.5
    assert binned_distance(np.array([0, 0])) == 0.0


@pytest.mark.parametrize("rows", [3000, 30_000])
def test_an_interval_is_that_of_the_mean(rows: int) -> None:
    values = np.random.default_rng(0).exponential(2.0, rows)
    low, high = interval(values, 0.95, 1000)
    half = 1.96 * values.std() / math.sqrt(rows)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(values, 0.95, 1000) == (low, high)
    narrow = interval(values, 0.5, 1000)
    assert low < narrow[0] < narrow[1] < high


def test_the_baseline_reaches_the_entropy_of_its_columns() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(50, 10, 20_000)
    variables = (
        Variable("code", "categorical", 0, size=2, frequencies=(0.25, 0.75)),
        Variable("number", "real", 1, location=50, scale=10, knots=(30, 40, 60, 70)),
    )
    codes = (rng.random(20_000) < 0.75).astype(np.float32)
    x = torch.from_numpy(np.stack([codes, values.astype(np.float32)], axis=1))
    model = baseline.fit(variables, x)
    with torch.inference_mode():
        each = -model.variable_log_prob(x).mean(0)
    flip = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert float(each[0]) == pytest.approx(flip, abs=0.02)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(10)
    assert float(each[1]) == pytest.approx(entropy, abs=0.02)


def test_the_baseline_tells_places_apart_that_are_described_together() -> None:
    alike = {"size": 2, "frequencies": (0.5, 0.5)}
    variables = [Variable(f"x{i}", "binary", i, **alike) for i in range(3)]  # type: ignore[arg-type]
    x = torch.zeros(998, 3)
    x[:499, 1] = 1
    x[:, 2] = math.nan
    with torch.inference_mode():
        each = baseline.fit(variables, x).conditionals(torch.zeros(1, 3))
        found = each.log_prob(torch.zeros(1, 3)).exp()[0]
    assert found.tolist() == pytest.approx([0.999, 0.5, 0.5])


def test_training_rows_of_the_baseline_are_evenly_chosen(judged: Judged) -> None:
    about = json.loads(Path(judged.prepared, "_manifest.json").read_text())
    every = baseline.training_rows(judged.prepared, about, 10**6)
    assert len(every) == about["rows"]["train"]
    some = baseline.training_rows(judged.prepared, about, 100)
    assert 80 <= len(some) <= 102
    assert torch.equal(some[0].nan_to_num(), every[0].nan_to_num())


@pytest.fixture(scope="module")
def page(judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report")
    path = report.report(
        judged.models["strong"],
        judged.prepared,
        judged.evaluations["strong"]["path"],
        str(output),
    )
    return Path(path)


def test_the_report_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    assert page.name == "report.html"
    assert "http" not in text
    assert "<script" not in text and "<link" not in text
    assert text.count("<img") == text.count('src="data:image/png;base64,') == 6


def test_the_report_escapes_what_comes_from_data(page: Path) -> None:
    text = page.read_text()
    assert "kind &lt;b&gt;" in text
    assert "kind <b>" not in text


def test_the_report_tells_figures_columns_and_reasons(
    page: Path, found: dict[str, Any]
) -> None:
    text = page.read_text()
    assert f"{found['nll']:.3f} nats" in text
    assert all(f"<td>{name}</td>" in text for name in ("count", "amount", "large"))
    assert "nothing" in text and "all null" in text
    assert text.count('<div class="odd">') == 10
    assert "expected" in text


def test_the_same_report_is_not_written_again(judged: Judged, page: Path) -> None:
    before = page.stat().st_mtime_ns
    evaluation = judged.evaluations["strong"]["path"]
    models = judged.models
    report.report(models["strong"], judged.prepared, evaluation, str(page.parent))
    assert page.stat().st_mtime_ns == before


def test_figures_are_images_of_some_size(judged: Judged) -> None:
    folder = Path(judged.evaluations["strong"]["path"], "figures")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    names = {"calibration.png", "columns.png", "p_values.png", "scores.png"}
    assert set(sizes) == names
    assert min(sizes.values()) > 5000
