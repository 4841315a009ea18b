"""Selection of anomalies: q-values, thresholds and budgets over all rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from tasks.config.score import ScoreConfig
from tasks.inference.scoring_plan import FIRST_PASS
from tests.support.scoring import ROWS, Job, read_manifest, read_rows
from tests.support.tables import small_table


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Return adjusted p-values by the loop of the textbook."""
    order = np.argsort(p_values)
    q_values, least = np.empty(len(p_values)), 1.0
    for rank in range(len(p_values), 0, -1):
        row = order[rank - 1]
        least = min(least, p_values[row] * len(p_values) / rank)
        q_values[row] = least
    return q_values


def test_q_values_are_those_of_the_whole_dataset(undisturbed: Path) -> None:
    found = read_rows(undisturbed)
    expected = benjamini_hochberg(found["p_value"].to_numpy())
    np.testing.assert_allclose(found["q_value"], expected, rtol=1e-12)
    most_anomalous = read_manifest(undisturbed)["most_anomalous"][0]
    assert most_anomalous["q_value"] == expected.min()


@pytest.mark.parametrize(
    ("rule", "flagged"),
    [
        ({"fdr": 0.9}, lambda found: found["q_value"].to_numpy() <= 0.9),
        ({"threshold": 97.0}, lambda found: found["severity"].to_numpy() >= 97),
        ({"budget": 0.05}, None),
        ({"budget": 7}, None),
    ],
)
def test_rules_change_flags_and_explanations_alone(
    job: Job,
    in_process: None,
    undisturbed: Path,
    tmp_path: Path,
    rule: dict[str, Any],
    flagged: Callable[[pa.Table], np.ndarray] | None,
) -> None:
    before = read_rows(undisturbed)
    result = job(config=ScoreConfig(rows_per_fragment=400, **rule))
    assert result.rule == rule
    found = read_rows(tmp_path / "output")
    for name in ("log_prob", "anomaly_score", "p_value", "q_value", "severity"):
        assert found[name].equals(before[name])
    flags = found["is_anomaly"].to_numpy()
    if flagged is None:
        (value,) = rule.values()
        order = np.lexsort(
            [-found["anomaly_score"].to_numpy(), found["p_value"].to_numpy()]
        )
        taken = value if value >= 1 else int(value * ROWS)
        assert set(np.flatnonzero(flags)) == set(order[:taken])
    else:
        np.testing.assert_array_equal(flags, flagged(found))
    assert 0 < flags.sum() == result.anomalies < ROWS
    assert found["explanation"].is_valid().to_numpy().tolist() == flags.tolist()
    assert not (tmp_path / "output" / FIRST_PASS).exists()


def test_ties_do_not_exceed_a_budget(
    job: Job, in_process: None, tmp_path: Path
) -> None:
    rows = small_table(200, seed=3)
    same = rows.take(pa.array([5] * 90))
    (tmp_path / "same").mkdir()
    for part in range(3):
        pq.write_table(same.slice(0, 30), tmp_path / "same" / f"{part}.parquet")
    result = job(source=str(tmp_path / "same"), config=ScoreConfig(budget=40))
    assert result.anomalies == 40
    found = read_rows(tmp_path / "output")
    # The last digit of a score may depend on the place of its row in a batch.
    scores = found["anomaly_score"].to_pylist()
    first = sorted(range(90), key=lambda row: (-scores[row], row))[:40]
    assert np.flatnonzero(found["is_anomaly"].to_numpy()).tolist() == sorted(first)


def test_a_budget_needs_no_calibration_rows(
    job: Job, in_process: None, small_model: str, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    density = load_density(Path(small_model))
    save_density(TableDensity(density.encoder, density.model), bare)
    with pytest.raises(ValueError, match="flag by a budget"):
        job(model=str(bare))
    config = ScoreConfig(rows_per_fragment=400, budget=9)
    assert job(model=str(bare), config=config).anomalies == 9
    found = read_rows(tmp_path / "output")
    scores = found["anomaly_score"].to_numpy()
    flags = found["is_anomaly"].to_numpy()
    assert scores[flags].min() > scores[~flags].max()
    assert found["q_value"].null_count == ROWS
    assert found["explanation"].is_valid().to_numpy().sum() == 9
