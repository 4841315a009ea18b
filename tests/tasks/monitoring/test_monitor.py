"""Tests of drift detection: changes of columns and of their relations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density, save_density
from tasks.config.monitor import MonitorConfig
from tasks.config.resources import Resources
from tasks.inference.source import Source
from tasks.monitoring import monitor, reference
from tasks.monitoring.monitor import MonitorResult
from tests.support.tables import small_table

CONFIG = MonitorConfig(rows_per_fragment=1000, resamples=100)

Job = Callable[..., MonitorResult]


@pytest.fixture(scope="module")
def model(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the small model with a reference of many calibration rows."""
    folder = tmp_path_factory.mktemp("remembering") / "model"
    rows = small_table(3000, seed=11)
    density = load_density(Path(small_model))
    density.calibration = density.reference_scores(rows)
    save_density(density, folder)
    known = reference.build(density, lambda: [rows.slice(0, 1000), rows.slice(1000)])
    assert known.rows == 3000
    (folder / reference.FILE).write_text(json.dumps(known.to_dict()))
    assert reference.read(str(folder)).to_dict() == known.to_dict()
    return str(folder)


@pytest.fixture
def job(model: str, tmp_path: Path) -> Job:
    """Return a function that runs `monitor` on a table with common settings."""

    def run(table: pa.Table, name: str = "batch", **changes: Any) -> MonitorResult:
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=500)
        arguments = {
            "model": model,
            "source": Source(str(tmp_path / f"{name}.parquet")),
            "output": str(tmp_path / f"{name}-drift"),
            "config": CONFIG,
            "resources": Resources(),
            "model_info": {"name": "small", "version": "3"},
        }
        return monitor.monitor(**{**arguments, **changes})

    return run


def columns(result: MonitorResult) -> dict[str, Any]:
    """Return the entries of drift.json by column."""
    content = json.loads(Path(result.path, monitor.RESULT).read_text())
    return {column["name"]: column for column in content["columns"]}


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, pa.array(values))


def test_rows_like_those_of_training_are_stable(job: Job) -> None:
    result = job(small_table(3000, seed=5))
    assert (result.verdict, result.reasons) == ("stable", [])
    assert result.remedy is None and result.caution is None
    assert result.metrics["drift/found"] == 0.0
    assert result.rows_out == 3000
    for column in columns(result).values():
        # 3000 rows against 3000: beyond 0.056 once in 10,000 seeds and columns.
        assert column["conditional"]["ks"]["value"] < 0.056


def test_a_column_that_changed_by_itself_is_named(job: Job) -> None:
    table = small_table(3000, seed=5)
    rng = np.random.default_rng(0)
    kinds = np.array(table["kind"].to_pylist())
    kinds[rng.random(3000) < 0.3] = "new kind"
    result = job(with_column(table, "kind", kinds))
    assert result.verdict == "drift"
    start = "marginal distribution of kind: ks "
    assert any(reason.startswith(start) for reason in result.reasons)
    assert "chainrule calibrate" in result.remedy
    found = columns(result)
    assert found["kind"]["out_of_support"][0] == 0.0
    assert found["kind"]["out_of_support"][1] == pytest.approx(0.3, abs=0.03)
    assert found["late"]["marginal"]["ks"]["low"] < 0.1
    assert result.metrics["drift/marginal_ks/kind"] == pytest.approx(
        found["kind"]["marginal"]["ks"]["value"]
    )


def test_a_broken_relation_is_conditional_drift_alone(job: Job) -> None:
    table = small_table(3000, seed=5)
    order = np.random.default_rng(0).permutation(3000)
    result = job(with_column(table, "late", table["late"].take(order).to_pylist()))
    found = columns(result)["late"]
    assert found["conditional"]["ks"]["low"] > 0.1
    assert found["marginal"]["ks"]["value"] < 0.1
    assert result.verdict == "drift"
    reasons = "; ".join(result.reasons)
    assert "marginal distribution of late" not in reasons
    assert "conditional distribution of late" in reasons


def test_each_day_is_compared_and_its_new_categories_are_named(job: Job) -> None:
    table = small_table(3000, seed=5)
    first = np.datetime64("2026-01-01")
    days = first + np.arange(3000) // 1000
    kinds = np.array(table["kind"].to_pylist(), object)
    kinds[2000:2500] = "new kind"
    table = with_column(table, "kind", kinds).append_column("day", pa.array(days))
    plain = job(table, "plain")

    result = job(table, config=CONFIG.model_copy(update={"by": "day"}))

    assert [p["period"] for p in result.periods] == [
        "2026-01-01",
        "2026-01-02",
        "2026-01-03",
    ]
    assert [p["rows"] for p in result.periods] == [1000] * 3
    verdicts = [p["verdict"] for p in result.periods]
    assert verdicts == ["stable", "stable", "drift"]
    assert [p["new_categories"] for p in result.periods] == [
        {},
        {},
        {"kind": {"new kind": 500}},
    ]
    assert plain.periods == [] and plain.rows_out == result.rows_out == 3000
    assert result.metrics["drift/marginal_ks/kind"] == pytest.approx(
        plain.metrics["drift/marginal_ks/kind"]
    )
    page = Path(result.page).read_text()
    assert "Drift over time" in page and "kind: new kind (500)" in page
    assert "Drift over time" not in Path(plain.page).read_text()


def test_nulls_that_became_frequent_are_told(job: Job) -> None:
    table = small_table(3000, seed=5)
    counts = [None if k % 2 else v for k, v in enumerate(table["count"].to_pylist())]
    result = job(with_column(table, "count", counts))
    missing = columns(result)["count"]["missing"]
    assert missing[0] == pytest.approx(0.1, abs=0.02)
    assert missing[1] == pytest.approx(0.55, abs=0.02)
    assert result.verdict == "drift"


def test_an_unknown_column_cannot_be_ignored(job: Job) -> None:
    with pytest.raises(ValueError, match="monitor.ignore: the model has no column 'x'"):
        job(small_table(100), config=CONFIG.model_copy(update={"ignore": ("x",)}))


def test_a_repeated_job_finds_the_same(job: Job, tmp_path: Path) -> None:
    table = small_table(2500, seed=6)
    first = job(table)
    files = {p: p.read_bytes() for p in Path(first.path).rglob("*") if p.is_file()}
    assert job(table).done
    output = tmp_path / "batch-drift"
    (output / "counts" / "part-00001.parquet").unlink()
    (output / monitor.RESULT).unlink()
    again = job(table)
    assert not again.done
    for path, content in files.items():
        if path.name != "_manifest.json":
            assert path.read_bytes() == content


def test_the_cut_into_fragments_does_not_matter_to_columns(job: Job) -> None:
    table = small_table(2000, seed=7)
    found = []
    for name, rows in (("one", 5000), ("four", 500)):
        config = CONFIG.model_copy(update={"rows_per_fragment": rows})
        found.append(columns(job(table, name, config=config)))
    for name, column in found[0].items():
        # But for sums of floats, whose order the fragments decide.
        for effect in ("ks", "psi"):
            assert column["marginal"][effect] == found[1][name]["marginal"][effect]


def test_the_page_needs_nothing_else_and_escapes(job: Job) -> None:
    table = small_table(500, seed=8)
    result = job(table, model_info={"name": "<b>", "version": None})
    text = Path(result.page).read_text()
    assert "<script" not in text and "<link" not in text and "http" not in text
    assert text.count("<img") == text.count('src="data:image/png;base64,') == 4
    assert "&lt;b&gt;" in text and "<h1><b>" not in text


def test_a_model_that_remembers_nothing_is_refused(
    job: Job, small_model: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no reference.json.*train it"):
        job(small_table(100), model=small_model)
    assert not (tmp_path / "batch-drift").exists()


def test_a_missing_column_is_named(job: Job) -> None:
    with pytest.raises(ValueError, match="batch.parquet: column 'paid' is missing"):
        job(small_table(100).drop(["paid"]))
