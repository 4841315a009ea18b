"""The job that measures synthetic rows."""

import html
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from tasks.config.fidelity import FidelityConfig
from tasks.evaluation.fidelity import fidelity
from tasks.runtime import storage
from tests.support.densities import sample_table
from tests.support.tables import small_table


@pytest.fixture(scope="module")
def compared(
    small_model: str, prepared: str, tmp_path_factory: pytest.TempPathFactory
) -> fidelity.FidelityResult:
    """Return the result for rows that the model draws."""
    config = FidelityConfig(samples="auto", target="late", rows=600)
    output = str(tmp_path_factory.mktemp("fidelity") / "{key}")
    return fidelity.measure_fidelity(small_model, prepared, output, config)


def test_the_job_measures_rows_drawn_now(compared: fidelity.FidelityResult) -> None:
    found = storage.read_json(storage.join(compared.path, fidelity.FIDELITY))

    assert found["rows"]["synthetic"] == 600
    assert found["rows"]["held_out"] > 100
    assert set(compared.metrics) == {
        "samples/univariate_accuracy",
        "samples/bivariate_accuracy",
        "samples/two_sample_auc",
        "samples/closest_record_share",
        "samples/wrong_rows",
        "samples/implausible_rows",
        "samples/wrong_combinations",
        "samples/log_prob_gap",
        "samples/downstream_auc",
    }
    assert all(math.isfinite(value) for value in compared.metrics.values())
    assert compared.metrics["samples/univariate_accuracy"] > 0.6
    assert compared.metrics["samples/wrong_rows"] == 0
    low, high = found["log_prob"]["held_out_interval"]
    assert low < found["log_prob"]["held_out"] < high
    assert not compared.done


def test_findings_are_typed_and_shown(compared: fidelity.FidelityResult) -> None:
    page = Path(compared.page).read_text()

    # The model was hardly trained: it draws `late` without regard to `count`.
    assert compared.findings and compared.separating_columns
    for finding in compared.findings:
        assert finding.synthetic > finding.held_out
        assert finding.examples and finding.rule in html.unescape(page)
    assert compared.separating_columns[0].importance > 0
    assert "Violated rules" in page and compared.separating_columns[0].column in page


def test_the_page_needs_nothing_else(compared: fidelity.FidelityResult) -> None:
    page = Path(compared.page).read_text()

    assert page.startswith("<!doctype html>")
    assert "Two-sample AUC" in page and "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_samples_of_a_file_are_compared_and_not_twice(
    small_model: str, prepared: str, tmp_path: Path
) -> None:
    rows = sample_table(load_density(Path(small_model)), 300, seed=3)
    broken = rows.set_column(0, "kind", pa.array(["new"] * 300))
    pq.write_table(broken, tmp_path / "samples.parquet")
    config = FidelityConfig(samples=str(tmp_path / "samples.parquet"))

    result = fidelity.measure_fidelity(
        small_model, prepared, str(tmp_path / "out"), config
    )

    assert result.metrics["samples/wrong_rows"] == 1
    found = storage.read_json(storage.join(result.path, fidelity.FIDELITY))
    assert found["support"]["wrong_cells"]["kind"]["unseen"] == 300
    assert found["downstream"] is None
    again = fidelity.measure_fidelity(
        small_model, prepared, str(tmp_path / "out"), config
    )
    assert again.done and again.metrics == result.metrics


def test_what_cannot_be_compared_is_named(
    small_model: str, prepared: str, tmp_path: Path
) -> None:
    pq.write_table(small_table(5).drop_columns(["paid"]), tmp_path / "few.parquet")
    output = str(tmp_path / "out")
    few = FidelityConfig(samples=str(tmp_path / "few.parquet"))
    with pytest.raises(ValueError, match="few.parquet: column 'paid' is missing"):
        fidelity.measure_fidelity(small_model, prepared, output, few)
    wrong = FidelityConfig(samples="auto", target="lat")
    with pytest.raises(ValueError, match="target: 'lat' is not a modelled column"):
        fidelity.measure_fidelity(small_model, prepared, output, wrong)
    assert not Path(output).exists()
