"""The second pass over a dataset: explanations of the anomalies that remain."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.scorer import Scorer
from ar_models.scoring.explanation import text
from tasks.data.datasets import open_dataset
from tasks.inference import score, selection
from tasks.inference.scoring_plan import ScoringPlan, rule_of
from tasks.inference.source import Source
from tests.support.scoring import CONFIG


def test_rows_without_a_finite_score_go_to_quarantine(
    small_model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_rows = Scorer.score_rows

    def broken(scorer: Scorer, table: pa.Table) -> pa.Table:
        scored = score_rows(scorer, table)
        numbers = scored["log_prob"].to_numpy().copy()
        numbers[2:4] = np.nan, -np.inf
        return scored.set_column(0, "log_prob", pa.array(numbers))

    monkeypatch.setattr(Scorer, "score_rows", broken)
    # All that are left are flagged, and explained in the second pass.
    config = CONFIG.model_copy(update={"budget": 10**6})
    dataset = open_dataset(str(source), rows_per_fragment=400)
    plan = ScoringPlan(
        small_model, Source(str(source)), str(tmp_path), config, ("id",), {}, "k"
    )
    score.FirstPass(plan)(dataset.fragments[1])
    path = f"{plan.first_pass}/part-00001.parquet"
    selected = selection.select_anomalies([path], rule_of(config), True)
    cutoff = selected.cutoff
    assert cutoff is not None
    selected = replace(selected, cutoff=replace(cutoff, ties=(0, *cutoff.ties)))
    facts = score.SecondPass(plan, selected)(dataset.fragments[1])
    assert (facts["rows_out"], facts["rows_quarantined"]) == (398, 2)
    assert facts["anomalies"] == 398
    bad = pq.read_table(tmp_path / "quarantine" / "part-00001.parquet")
    assert bad["id"].to_pylist() == ["row-7-402", "row-7-403"]
    assert bad["row"].to_pylist() == [402, 403]
    assert bad["reason"][0].as_py().startswith("log_prob is nan, anomaly_score is ")
    good = pq.read_table(tmp_path / "part-00001.parquet")
    assert good["id"].to_pylist()[:3] == ["row-7-400", "row-7-401", "row-7-404"]
    rows = pq.read_table(source).slice(400, 400)
    # Each row's explanation is its own, not that of a neighbour.
    for place, row in ((1, 1), (2, 4), (397, 399)):
        named = {e["column"]: e["value"] for e in good["explanation"][place].as_py()}
        for column, value in named.items():
            cell = rows[column][row].as_py()
            assert value == ("missing" if cell is None else text(cell))
