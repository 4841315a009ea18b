"""Tests of the benchmark of anomaly detection."""

import json
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.config.train import TrainConfig
from tests.support.scripts import import_script


@pytest.fixture(scope="module")
def anomalies() -> ModuleType:
    """Import the script; PyOD is imported only when detectors are made."""
    return import_script("anomalies")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two datasets whose columns agree except for anomalies."""
    folder = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("1_a", "2_b")):
        rng = np.random.default_rng(seed)
        a = rng.normal(size=400)
        label = (np.arange(400) < 40).astype(np.int64)
        b = np.where(label == 1, -a + 2, a) + 0.1 * rng.normal(size=400)
        table = pa.table({"a": a, "b": b, "constant": np.ones(400), "label": label})
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_the_clean_protocol_fits_on_half_of_the_ordinary_rows(
    anomalies: ModuleType, folder: Path
) -> None:
    x, label = anomalies.read(folder / "1_a.parquet", 1000)
    given = anomalies.task(x, label, "clean", seed=3)
    ordinary = {tuple(row) for row in x[label == 0]}
    fitted = {tuple(row) for row in given.train}
    tested = {tuple(row) for row in given.test}
    assert len(fitted) == 180 and fitted <= ordinary
    assert not fitted & tested
    assert fitted | tested == {tuple(row) for row in x}
    assert given.label.sum() == 40
    other = anomalies.task(x, label, "clean", seed=4)
    assert {tuple(row) for row in other.train} != fitted


def test_the_contaminated_protocol_scores_what_it_fitted(
    anomalies: ModuleType, folder: Path
) -> None:
    x, label = anomalies.read(folder / "1_a.parquet", 100)
    given = anomalies.task(x, label, "contaminated", seed=0)
    assert given.test is given.train and len(given.train) == 100


def test_our_model_tells_a_broken_relation(
    anomalies: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = partial(anomalies.fit, training=TrainConfig(epochs=10))
    monkeypatch.setattr(anomalies, "fit", short)
    given = anomalies.task(
        *anomalies.read(folder / "1_a.parquet", 1000), "clean", seed=0
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = anomalies.run_ours(given, seed=0)
    torch.set_num_threads(threads)
    ordinary, odd = result.scores[given.label == 0], result.scores[given.label == 1]
    # An AUROC of four fifths: columns one by one tell hardly more than half.
    assert (odd[:, None] > ordinary).mean() > 0.8


def lines(anomalies: ModuleType) -> list[dict[str, object]]:
    """Return results of two methods on three datasets, one of them incomplete."""
    found = []
    for place, name in enumerate(("1_a", "2_b", "3_c")):
        for method, auroc in ((anomalies.OURS, 0.9), ("KNN", 0.7)):
            if name == "3_c" and method == "KNN":
                continue
            line = {"set": name, "protocol": "clean", "seed": 0, "method": method}
            figures = {"auroc": auroc - place / 10, "auprc": 0.5}
            for budget in anomalies.BUDGETS:
                figures[f"precision {budget:.1%}"] = 0.25
                figures[f"recall {budget:.1%}"] = 0.75
            found.append({**line, **figures, "rows": 10, "fit": 1.0, "score": 0.1})
    return found


def test_means_are_taken_where_every_method_has_a_result(anomalies: ModuleType) -> None:
    text = anomalies.report(lines(anomalies))
    assert "2 datasets, seeds: 1." in text
    assert "| chainrule | 0.850 | 0.500 | 1.00 | 1.50 | 1.00 | 0.10 |" in text
    assert "| KNN | 0.650 | 0.500 | 2.00 | 1.50 | 1.00 | 0.10 |" in text
    lead = "+0.200 (+0.200 to +0.200)"
    assert f"| KNN | {lead} | +0.000 (+0.000 to +0.000) | +0.200 (" in text
    budgets = "0.250 / 0.750 | 0.250 / 0.750 | 0.250 / 0.750"
    assert f"| chainrule | {budgets} |" in text
    assert "| 1_a | 10 | 0.900 / 0.500 | 0.700 / 0.500 |" in text
    assert "| 2_b | 10 | 0.800 / 0.500 | 0.600 / 0.500 |" in text
    assert "3_c" not in text


def test_what_was_measured_is_not_measured_again(
    anomalies: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    assert anomalies.read_results(path) == []
    path.write_text("".join(json.dumps(one) + "\n" for one in lines(anomalies)))
    known = {anomalies.key_of(one) for one in anomalies.read_results(path)}
    assert ("2_b", "clean", 0, "KNN") in known
    assert ("3_c", "clean", 0, "KNN") not in known
