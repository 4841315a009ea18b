"""Comparison of two models on the same rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.config.evaluate import EvaluateConfig
from tasks.config.resources import Resources
from tasks.evaluation import compare
from tasks.evaluation.compare import ComparisonResult
from tasks.inference.source import Source
from tests.support.model_pair import ModelPair

CONFIG = EvaluateConfig(resamples=100, segments=("kind <b>", "large"), label="large")


def run(pair: ModelPair, output: Path | str, second: str, **infos: Any) -> Any:
    """Compare the strong model with a second one on the test rows."""
    source = Source(f"{pair.prepared}/test")
    models = (pair.models["strong"], second)
    return compare.compare(models, source, str(output), CONFIG, Resources(), **infos)


@pytest.fixture(scope="module")
def compared(
    pair: ModelPair, tmp_path_factory: pytest.TempPathFactory
) -> ComparisonResult:
    """Return the comparison of the strong model with the weak one."""
    output = tmp_path_factory.mktemp("comparison") / "{key}"
    infos = ({"name": "small", "version": "2"}, {"name": "small", "version": "1"})
    result: ComparisonResult = run(pair, output, pair.models["weak"], infos=infos)
    return result


def test_the_better_model_is_found_on_the_same_rows(
    pair: ModelPair, compared: ComparisonResult
) -> None:
    nll = [pair.evaluations[n].metrics["test/nll"] for n in ("strong", "weak")]
    assert compared.nll == pytest.approx(nll, abs=1e-4)
    assert compared.difference == pytest.approx(nll[1] - nll[0], abs=1e-4)
    low, high = compared.difference_interval
    assert 0 < low < compared.difference < high
    assert compared.metrics["compare/difference"] == compared.difference


def test_differences_add_up_over_columns(compared: ComparisonResult) -> None:
    found = json.loads(Path(compared.path, compare.RESULT).read_text())
    columns = sum(column["difference"] for column in found["columns"])
    assert columns == pytest.approx(found["difference"], abs=1e-9)
    for segmented in found["segments"]:
        total = sum(v["difference"] * v["rows"] for v in segmented["values"])
        assert total / found["rows"] == pytest.approx(found["difference"])


def test_the_page_names_the_better_model(compared: ComparisonResult) -> None:
    text = Path(compared.page).read_text()
    assert "small version 2 is better" in text
    assert "<script" not in text and "http" not in text
    assert "kind &lt;b&gt;" in text and "kind <b>" not in text
    assert text.count("<img") == 3


def test_a_finished_comparison_is_not_done_again(
    pair: ModelPair, compared: ComparisonResult
) -> None:
    again = run(pair, compared.path, pair.models["weak"])
    assert again.done and again.difference == compared.difference


def test_models_of_other_columns_are_not_compared(
    pair: ModelPair, small_model: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="different columns cannot be compared"):
        run(pair, tmp_path / "output", small_model)
    assert not (tmp_path / "output").exists()
