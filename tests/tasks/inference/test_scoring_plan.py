"""Settings of a scoring job: precision, segments and the statistic."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from ar_models.density.scorer import ScoreOptions
from tasks.config.score import ScoreConfig
from tasks.inference.scoring_plan import score_options
from tasks.runtime import manifest
from tests.support.scoring import Job, read_rows


def test_bf16_is_another_job_with_nearly_the_same_scores(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    before = read_rows(undisturbed)
    job(config=ScoreConfig(rows_per_fragment=400, precision="bf16"))
    found = read_rows(tmp_path / "output")

    off = np.abs(found["log_prob"].to_numpy() - before["log_prob"].to_numpy())
    assert 0 < np.median(off) < 0.2
    assert found["id"].equals(before["id"])
    keys = [
        json.loads((folder / manifest.MANIFEST).read_text())["job_key"]
        for folder in (undisturbed, tmp_path / "output")
    ]
    assert keys[0] != keys[1]


def test_segments_have_a_scale_of_their_own(
    job: Job, in_process: None, small_model: str, source: Path, tmp_path: Path
) -> None:
    density = load_density(Path(small_model))
    config = ScoreConfig(
        rows_per_fragment=400, calibrate_by="kind", min_segment_rows=45
    )
    result = job(config=config)
    own = {entry["value"]: entry for entry in result.segments}
    codes = density.calibration["segment:kind"]
    labels = density.encoder.labels(0)
    counts = {label: int((codes == k).sum()) for k, label in enumerate(labels)}
    assert {v: e["calibration_rows"] for v, e in own.items()} == counts
    assert {v for v, e in own.items() if not e["own"]} == {
        v for v, n in counts.items() if n < 45
    }
    found = read_rows(tmp_path / "output")
    kinds = np.array(pq.read_table(source)["kind"].to_pylist())
    for value, entry in own.items():
        rows = kinds == value
        scores = found["anomaly_score"].to_numpy()[rows]
        pool = density.calibration_scores(ScoreConfig().statistic)
        if entry["own"]:
            pool = pool[codes == labels.index(value)]
        exceeding = (pool[None] >= scores[:, None] - 1e-4).sum(axis=1)
        expected = (1 + exceeding) / (1 + len(pool))
        np.testing.assert_allclose(found["p_value"].to_numpy()[rows], expected)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("count", "'count' is modelled as integer, and only binary and categorical"),
        ("id", "'id' is not modelled"),
        (
            "kin",
            r"only binary and categorical columns can be segments: \['kind', 'late",
        ),
    ],
)
def test_a_column_that_cannot_segment_is_refused(
    job: Job, tmp_path: Path, column: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        job(config=ScoreConfig(calibrate_by=column))
    assert not (tmp_path / "output").exists()


def test_the_options_have_the_same_defaults_in_the_configuration() -> None:
    # A job explains its anomalies only; a consumer, who scores few rows, all of them.
    assert score_options(ScoreConfig()) == ScoreOptions(explain="flagged")
