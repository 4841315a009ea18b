"""Tests of rules that several keys of a section make together."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config.data import ImageConfig, SplitConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.config.schedules import Schedule, SchedulesConfig
from tasks.config.score import ScoreConfig
from tasks.config.section import Section

CRON = {"cron": "0 3 * * *"}


@pytest.mark.parametrize(
    ("section", "keys", "message"),
    [
        (SplitConfig, {"by": "time"}, "by: time needs column"),
        (SplitConfig, {"valid": 0.5, "test": 0.5}, "must add up to less than 1"),
        (EvaluateConfig, {"budget": 1.5}, "share below 1 or a whole number"),
        (ScoreConfig, {"fdr": 0.1, "budget": 9}, "got fdr and budget"),
        (ImputeConfig, {"imputations": 2, "method": "mean"}, "need method draw"),
        (Resources, {"gpus_per_process": 1e-5}, "0 or at least 0.0001"),
        (Schedule, {}, "exactly one of cron, interval and rrule is required, got none"),
        (Schedule, {**CRON, "interval": 60}, "got cron and interval"),
        (Schedule, {**CRON, "timezone": "Mars"}, "unknown time zone 'Mars'"),
        (
            SchedulesConfig,
            {"retrain": CRON, "retrain_after_drift": 2},
            "needs the schedules monitor and retrain",
        ),
        (ScoreConfig, {"unknown": 1}, "Extra inputs are not permitted"),
    ],
)
def test_an_invalid_section_is_refused(
    section: type[Section], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        section.model_validate(keys)


def test_sections_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SplitConfig().seed = 1  # type: ignore[misc]  # frozen


def test_an_image_has_a_shape_and_a_size() -> None:
    image = ImageConfig(height=2, width=3, channels=4)
    assert image.shape == (2, 3, 4)
    assert image.size == 24
