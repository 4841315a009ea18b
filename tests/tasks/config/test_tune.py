import pytest
from pydantic import ValidationError

from tasks.config.tune import TuneConfig, duration_seconds


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800)],
)
def test_durations_are_numbers_with_units(duration: str, seconds: float) -> None:
    assert duration_seconds(duration) == seconds
    assert TuneConfig(budget=duration).budget == duration


@pytest.mark.parametrize("duration", ["", "90", "h", "1x", "0s", "-1h", "1h 30m"])
def test_other_durations_are_refused(duration: str) -> None:
    with pytest.raises(ValidationError, match="a duration such as 90s"):
        TuneConfig(budget=duration)
