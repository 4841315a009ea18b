"""Tests of the flows of deployments: states, notifications and events."""

from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.client.schemas.objects import StateType

from flows.deploy import scheduled
from flows.process import runs
from tasks.monitoring.monitor import MonitorResult
from tests.support.schedules import REFUSED, SAMPLED, with_schedules


class Noted(NotificationBlock):
    """Notification block that appends messages to a file."""

    _block_type_slug = "noted"
    path: str

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override]
        with open(self.path, "a") as file:
            file.write(f"{body}\n")


@pytest.fixture
def noted(server: None, tmp_path: Path) -> Any:
    Noted(path=str(tmp_path / "told")).save("here", overwrite=True)
    return with_schedules("telling", {"notify": ["noted/here"]}), tmp_path / "told"


def test_refusals_and_failures_are_told(
    noted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, told = noted
    monkeypatch.setattr(runs, "run_flow", lambda *_, **__: REFUSED)
    state = scheduled.retrain(config, return_state=True)
    assert (state.type, state.name) == (StateType.COMPLETED, "Refused")
    assert "refused: models:/a/2 is challenger: it is worse" in told.read_text()
    assert "retrain telling 20" in told.read_text()

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such file")

    monkeypatch.setattr(runs, "run_flow", fail)
    assert scheduled.sample(config, return_state=True).is_failed()
    assert "no such file" in told.read_text()
    monkeypatch.setattr(runs, "run_flow", lambda *_, **__: SAMPLED)
    before = told.read_text()
    assert scheduled.sample(config, return_state=True).name == "Completed"
    assert told.read_text() == before


def test_lasting_drift_emits_two_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = []
    monkeypatch.setattr(
        scheduled, "emit_event", lambda event, *_, **__: emitted.append(event)
    )
    schedules = {
        "retrain": {"cron": "0 3 * * *"},
        "monitor": {"cron": "0 2 * * *"},
        "retrain_after_drift": 2,
    }
    config = with_schedules("drifting", schedules)
    resources = config.resources.model_copy(update={"storage": str(tmp_path)})
    config = config.model_copy(update={"resources": resources})
    for key in ("a", "b", "b", "c"):
        scheduled.emit_drift(config, drifted(key))
    assert emitted == [
        scheduled.DRIFT_EVENT,
        scheduled.DRIFT_EVENT,
        scheduled.LASTING_DRIFT_EVENT,
        scheduled.DRIFT_EVENT,
    ]


def drifted(key: str) -> MonitorResult:
    """Return the result of monitoring a batch that drifted."""
    return MonitorResult(
        path="p",
        key=key,
        done=False,
        seconds=1.0,
        page="p/drift.html",
        verdict="drift",
        reasons=["the log-probability"],
        remedy=None,
        caution=None,
        metrics={},
        rows_in=9,
        rows_out=9,
        rows_quarantined=0,
        bad_files=[],
        rows_per_s=9.0,
    )
