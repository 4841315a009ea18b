import json
from pathlib import Path

import pytest

from tasks.evaluation.report import model_report
from tests.support.model_pair import ModelPair


@pytest.fixture(scope="module")
def page(pair: ModelPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report")
    path = model_report.write_report(
        pair.models["strong"],
        pair.prepared,
        pair.evaluations["strong"].path,
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
    page: Path, pair: ModelPair
) -> None:
    text = page.read_text()
    found = json.loads(
        Path(pair.evaluations["strong"].path, "evaluation.json").read_text()
    )
    assert f"{found['nll']:.3f} nats" in text
    assert all(f"<td>{name}</td>" in text for name in ("count", "amount", "large"))
    assert "nothing" in text and "all null" in text
    assert text.count('<div class="anomaly">') == 10
    assert "expected" in text


def test_the_same_report_is_not_written_again(pair: ModelPair, page: Path) -> None:
    before = page.stat().st_mtime_ns
    evaluation = pair.evaluations["strong"].path
    models = pair.models
    model_report.write_report(
        models["strong"], pair.prepared, evaluation, str(page.parent)
    )
    assert page.stat().st_mtime_ns == before
