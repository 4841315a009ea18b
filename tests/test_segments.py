"""Figures by segment, labelled anomalies, and two models on the same rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judging import Judged

from tasks import compare, evaluate, report, segments
from tasks.config import Config, EvaluateConfig, Resources, ScoreConfig

CONFIG = EvaluateConfig(bootstrap=100, segments=("kind <b>", "large"), label="large")


@pytest.fixture(scope="module")
def found(judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The evaluation of the strong model, by segment and label."""
    done = evaluate.evaluate(
        judged.models["strong"],
        judged.prepared,
        str(tmp_path_factory.mktemp("evaluation")),
        CONFIG,
        Resources(),
    )
    content: dict[str, Any] = json.loads(
        Path(done["path"], "evaluation.json").read_text()
    )
    return content | {"metrics": done["metrics"]}


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


def test_a_label_is_judged_by(found: dict[str, Any]) -> None:
    detection = found["detection"]
    assert detection["rows"] == found["rows"]
    assert 0 < detection["positives"] < found["rows"]
    assert detection["budget"] == int(0.01 * found["rows"])
    for name in ("auroc", "auprc", "precision", "recall"):
        assert found["metrics"][f"test/{name}"] == detection[name]


def test_areas_by_hand() -> None:
    scores = np.array([5.0, 4.0, 4.0, 3.0, 2.0])
    labels = pa.chunked_array([[True, True, False, False, True]])
    found = segments.detection(scores, labels, 2, confidence=0.95, resamples=50)
    # Of 6 pairs: 5 beats both; 4 ties with one and beats one; 2 beats none.
    assert found["auroc"] == pytest.approx((2 + 1.5 + 0) / 6)
    # Ranks 1, 3 (a tie) and 5 hold the anomalies.
    assert found["auprc"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert (found["precision"], found["recall"]) == (1.0, pytest.approx(2 / 3))
    low, high = found["auroc_interval"]
    assert 0 <= low < found["auroc"] < high <= 1


def test_rows_without_a_label_do_not_count() -> None:
    scores = np.array([9.0, 5.0, 1.0])
    labels = pa.chunked_array([[None, True, False]])
    found = segments.detection(scores, labels, 1, confidence=0.9, resamples=50)
    assert (found["rows"], found["auroc"], found["precision"]) == (2, 1.0, 1.0)
    one_class = segments.detection(
        scores[:2], labels.slice(0, 2), 0.5, confidence=0.9, resamples=50
    )
    assert one_class["auroc"] is None and one_class["precision"] is None


def test_many_values_are_taken_together() -> None:
    values = [str(k) for k in range(80) for _ in range(k + 1)]
    rows = pa.table({"segment:c": values})
    found = list(segments.members(rows, "c"))
    assert len(found) == segments.SHOWN + 1
    assert found[0][0] == "79" and found[-1][0] == segments.OTHERS
    assert sum(len(own) for _, own in found) == len(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": ("knd",)}, "evaluate.segments: the rows have no column 'knd'"),
        ({"segments": ("amount",)}, "column 'amount' is double, whose values are no"),
        ({"label": "kind <b>"}, "evaluate.label: column 'kind <b>' is string; give"),
        ({"label": "none"}, "evaluate.label: the rows have no column 'none'"),
    ],
)
def test_columns_that_cannot_serve_are_named(
    judged: Judged, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate(
            judged.models["strong"],
            judged.prepared,
            str(tmp_path / "output"),
            EvaluateConfig(**change),
            Resources(),
        )


def test_a_label_is_carried_and_not_modelled() -> None:
    content = {"name": "a", "data": {"path": "p", "id": ["k"], "exclude": ["y", "z"]}}
    plain = Config.model_validate(content)
    assert plain.learned == plain.data
    labelled = Config.model_validate(content | {"evaluate": {"label": "y"}})
    assert labelled.learned.id == ("k", "y")
    assert labelled.learned.exclude == ("z",)
    assert labelled.data == plain.data


@pytest.fixture(scope="module")
def compared(judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The strong model beside the weak one on the test rows."""
    return compare.compare(
        (judged.models["strong"], judged.models["weak"]),
        f"{judged.prepared}/test",
        str(tmp_path_factory.mktemp("comparison") / "{key}"),
        CONFIG,
        Resources(),
        infos=({"name": "small", "version": "2"}, {"name": "small", "version": "1"}),
    )


def test_the_better_model_is_found_on_the_same_rows(
    judged: Judged, compared: dict[str, Any]
) -> None:
    nll = [judged.evaluations[n]["metrics"]["test/nll"] for n in ("strong", "weak")]
    assert compared["nll"] == pytest.approx(nll, abs=1e-4)
    assert compared["difference"] == pytest.approx(nll[1] - nll[0], abs=1e-4)
    low, high = compared["difference_interval"]
    assert 0 < low < compared["difference"] < high
    assert compared["metrics"]["compare/difference"] == compared["difference"]


def test_differences_add_up_over_columns_and_segments(compared: dict[str, Any]) -> None:
    found = json.loads(Path(compared["path"], compare.RESULT).read_text())
    columns = sum(column["difference"] for column in found["columns"])
    assert columns == pytest.approx(found["difference"], abs=1e-9)
    for segmented in found["segments"]:
        total = sum(v["difference"] * v["rows"] for v in segmented["values"])
        assert total / found["rows"] == pytest.approx(found["difference"])


def test_the_page_of_a_comparison_says_who_is_better(compared: dict[str, Any]) -> None:
    text = Path(compared["page"]).read_text()
    assert "small version 2 is better" in text
    assert "<script" not in text and "http" not in text
    assert "kind &lt;b&gt;" in text and "kind <b>" not in text
    assert text.count("<img") == 3


def test_a_finished_comparison_is_not_done_again(
    judged: Judged, compared: dict[str, Any]
) -> None:
    again = compare.compare(
        (judged.models["strong"], judged.models["weak"]),
        f"{judged.prepared}/test",
        compared["path"],
        CONFIG,
        Resources(),
    )
    assert again["done"] and again["difference"] == compared["difference"]


def test_models_of_other_columns_are_not_compared(
    judged: Judged, small_model: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="different columns cannot be compared"):
        compare.compare(
            (judged.models["strong"], small_model),
            f"{judged.prepared}/test",
            str(tmp_path / "output"),
            CONFIG,
            Resources(),
        )
    assert not (tmp_path / "output").exists()


def test_the_report_shows_segments_and_labels(judged: Judged, tmp_path: Path) -> None:

    done = evaluate.evaluate(
        judged.models["weak"],
        judged.prepared,
        str(tmp_path / "evaluation"),
        CONFIG,
        Resources(),
    )
    page = report.report(
        judged.models["weak"],
        judged.prepared,
        done["path"],
        str(tmp_path),
        config=ScoreConfig(budget=0.02),
    )
    text = Path(page).read_text()
    assert "By kind &lt;b&gt;" in text and "Labelled anomalies" in text
    assert text.count("<img") == 9
    rows = pq.read_table(f"{done['path']}/rows")
    assert "label" in rows.column_names
