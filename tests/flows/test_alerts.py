"""Alerts, received by an HTTP server on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.alerts import alert_of_anomalies, alert_of_drift, describe_row, uri_of
from tasks.config.root import Config
from tasks.monitoring.monitor import MonitorResult
from tasks.registry.downloads import ModelInfo
from tests.support.receiver import Receiver, receiving
from tests.support.scoring import run_score
from tests.support.tables import small_table

MODEL = ModelInfo("small", "3", "r", "f", "models:/small/3")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver of alerts."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def scored(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return scored rows of which seven are flagged."""
    folder = tmp_path_factory.mktemp("scored")
    pq.write_table(small_table(300, seed=7), folder / "rows.parquet")
    config = {"budget": 7}
    from tasks.config.score import ScoreConfig
    from tests.support.local_jobs import local_jobs

    with local_jobs():
        run_score(
            small_model,
            folder / "rows.parquet",
            folder / "output",
            config=ScoreConfig.model_validate(config),
        )
    return folder / "output"


def config(storage: Path, **alerts: Any) -> Config:
    """Return a configuration with alerts."""
    content = {"name": "small", "data": {"path": "p"}, "alerts": alerts}
    resources = {"storage": str(storage)}
    return Config.model_validate({**content, "resources": resources})


def test_flagged_rows_are_told_once_with_reasons_and_place(
    receiver: Receiver, scored: Path, tmp_path: Path
) -> None:
    settings = config(tmp_path, webhook=receiver.url, rows=2)
    for _ in range(2):
        sent = alert_of_anomalies(settings, MODEL, str(scored))
    assert sent == ()
    (alert,) = receiver.got
    assert alert["event"] == "chainrule.anomalies" and alert["anomalies"] == 7
    assert alert["rule"] == {"budget": 7.0} and alert["model"] == "models:/small/3"
    first = alert["most_anomalous"][0]
    assert len(alert["most_anomalous"]) == 2
    assert first["source"] == "rows.parquet" and set(first["ids"]) == {"id"}
    assert {"column", "value", "expected"} <= first["reasons"][0].keys()
    assert alert["results"] == scored.as_uri()
    lines = alert["text"].split("\n")
    assert lines[0] == "small: 7 of 300 rows flagged (budget 7) by models:/small/3"
    assert lines[1] == describe_row(first) and f"row {first['row']} id=" in lines[1]


def test_no_alert_is_sent_below_the_minimum_or_without_receivers(
    receiver: Receiver, scored: Path, tmp_path: Path
) -> None:
    few = config(tmp_path, webhook=receiver.url, min_anomalies=8)
    assert alert_of_anomalies(few, MODEL, str(scored)) == ()
    assert alert_of_anomalies(config(tmp_path), MODEL, str(scored)) == ()
    assert receiver.got == []


def test_an_alert_that_was_not_accepted_is_sent_again_by_the_next_run(
    receiver: Receiver, scored: Path, tmp_path: Path
) -> None:
    settings = config(tmp_path, webhook=receiver.url)
    receiver.statuses = [410]
    (failed,) = alert_of_anomalies(settings, MODEL, str(scored))
    assert failed.error is not None and "status 410" in failed.error
    (again,) = alert_of_anomalies(settings, MODEL, str(scored))
    assert again.error is None and len(receiver.got) == 2


def test_drift_is_told_with_its_page(receiver: Receiver, tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "path": str(tmp_path),
        "key": "k",
        "done": False,
        "seconds": 1.0,
        "page": f"{tmp_path}/drift.html",
        "reasons": ["ks of kind"],
        "remedy": None,
        "caution": None,
        "metrics": {},
        "rows_in": 9,
        "rows_out": 9,
        "rows_quarantined": 0,
        "bad_files": [],
        "rows_per_s": 9.0,
    }
    settings = config(tmp_path, webhook=receiver.url)
    stable = MonitorResult(verdict="stable", **facts)
    assert alert_of_drift(settings, MODEL, stable) == ()
    (sent,) = alert_of_drift(settings, MODEL, MonitorResult(verdict="drift", **facts))
    assert sent.message == "small: 9 rows drifted from models:/small/3"
    (alert,) = receiver.got
    assert alert["reasons"] == ["ks of kind"]
    assert alert["page"] == (tmp_path / "drift.html").as_uri()


def test_results_on_s3_keep_their_uri() -> None:
    assert uri_of("s3://bucket/a") == "s3://bucket/a"
