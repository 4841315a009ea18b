"""Segments and labels of an evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.config.score import ScoreConfig
from tasks.evaluation import evaluate, segments
from tasks.evaluation.report import model_report
from tests.support.model_pair import ModelPair

KEYS = {"resamples": 100, "segments": ("kind <b>", "large"), "label": "large"}


@pytest.fixture(scope="module")
def found(pair: ModelPair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the evaluation of the strong model, by segment and label."""
    done = pair.evaluate("strong", tmp_path_factory.mktemp("evaluation"), **KEYS)
    content: dict[str, Any] = json.loads(Path(done.path, "evaluation.json").read_text())
    return content | {"metrics": done.metrics, "path": done.path}


def test_segments_add_up_to_the_whole(found: dict[str, Any]) -> None:
    names = [segmented["column"] for segmented in found["segments"]]
    assert names == ["kind <b>", "large"]
    for segmented in found["segments"]:
        rows = [value["rows"] for value in segmented["values"]]
        assert sum(rows) == found["rows"]
        assert rows == sorted(rows, reverse=True)
        total = sum(v["nll"] * v["rows"] for v in segmented["values"])
        assert total / found["rows"] == pytest.approx(found["nll"])
        for value in segmented["values"]:
            low, high = value["nll_interval"]
            assert low < value["nll"] < high
    kinds = {v["value"] for v in found["segments"][0]["values"]}
    assert kinds == {"x", "y", "z & more"}
    name = "test/segment_nll/kind _b_/x"
    assert np.isfinite(found["metrics"][name])


def test_a_label_gives_detection_metrics(found: dict[str, Any]) -> None:
    detection = found["detection"]
    assert detection["rows"] == found["rows"]
    assert 0 < detection["positives"] < found["rows"]
    assert detection["budget"] == int(0.01 * found["rows"])
    for name in ("auroc", "auprc", "precision", "recall"):
        assert found["metrics"][f"test/{name}"] == detection[name]


def test_small_segments_are_merged() -> None:
    values = [str(k) for k in range(80) for _ in range(k + 1)]
    rows = pa.table({"segment:c": values})
    found = list(segments.split(rows, "c"))
    assert len(found) == segments.MAX_SEGMENTS + 1
    assert found[0][0] == "79" and found[-1][0] == segments.OTHERS
    assert sum(len(own) for _, own in found) == len(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": ("knd",)}, "evaluate.segments: the rows have no column 'knd'"),
        ({"segments": ("amount",)}, "column 'amount' of type double cannot"),
        ({"label": "kind <b>"}, "column 'kind <b>' of type string cannot mark"),
        ({"label": "none"}, "evaluate.label: the rows have no column 'none'"),
    ],
)
def test_columns_that_cannot_serve_are_named(
    pair: ModelPair, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pair.evaluate("strong", tmp_path / "output", **change)


def test_the_report_shows_segments_and_labels(
    pair: ModelPair, found: dict[str, Any], tmp_path: Path
) -> None:
    model, rule = pair.models["strong"], ScoreConfig(budget=0.02)
    page = model_report.write_report(
        model, pair.prepared, found["path"], str(tmp_path), config=rule
    )
    text = Path(page).read_text()
    assert "Segments by kind &lt;b&gt;" in text
    assert "Detection of labelled anomalies" in text
    assert text.count("<img") == 9
    assert "label" in evaluate.read_rows(found["path"]).column_names
