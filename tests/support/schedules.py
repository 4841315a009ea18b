"""Configurations with schedules, and outcomes of the flows that they run."""

from typing import Any

from flows.deploy.deployments import DeployOutcome
from flows.outcomes import RetrainOutcome, SampleOutcome
from tasks.config.root import Config
from tasks.data.prepare import PrepareResult
from tasks.inference.sample import SampleResult
from tasks.registry.data_validation import ValidationResult
from tasks.registry.downloads import ModelInfo
from tasks.registry.promotion import Promotion
from tasks.training.warm_start import StartingPoint

SCHEDULES: dict[str, Any] = {
    "retrain": {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"},
    "score": {"interval": 3600},
    "sample": {"rrule": "FREQ=MONTHLY;BYMONTHDAY=1", "active": False},
}

SAMPLED = SampleOutcome(
    model=ModelInfo("a", "1", "r", "f", "models:/a/1"),
    sample=SampleResult(
        path="p", key="k", done=False, seconds=1.0, rows_out=5, rows_per_s=5.0
    ),
)
"""Outcome of drawing five rows."""

REFUSED = RetrainOutcome(
    status="refused",
    start=StartingPoint(None, None, "there is no champion"),
    prepare=PrepareResult(
        path="p",
        key="k",
        done=False,
        seconds=1.0,
        fingerprint="f",
        encoder="e",
        rows={"train": 90, "test": 10},
        rows_quarantined=0,
        bad_files=(),
        missing_columns={"kind": 2},
        columns={"kind": "categorical", "note": "left out"},
        constraints=("kind = first 1 character of note, 100 % (0 exceptions of 90)",),
        rows_per_s=100.0,
    ),
    data_validation=ValidationResult(
        passed=True,
        needs_review=False,
        reason="ok",
        checks=(),
        valid=True,
        reference=None,
    ),
    register=Promotion(
        version="2",
        uri="models:/a/2",
        alias="challenger",
        promoted=False,
        reason="it is worse",
        needs_review=True,
    ),
)
"""Outcome of a retraining whose model was refused."""


def with_schedules(name: str, schedules: dict[str, Any]) -> Config:
    """Return a configuration of a dataset with schedules."""
    return Config.model_validate(
        {"name": name, "data": {"path": "data"}, "schedules": schedules}
    )


def changes(outcome: DeployOutcome) -> dict[str, str]:
    """Return the changes of a deployment by the names of the changed objects."""
    return {each.name: each.change for each in outcome.changes}
