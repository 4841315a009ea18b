"""Configuration of the search for better settings."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from tasks.config.section import Section

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds of each unit of a duration."""

DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
"""Form of a duration: numbers with units, such as 1h30m."""


def duration_seconds(duration: str) -> float:
    """Return the seconds of a duration such as 90s, 30m or 1h30m.

    Raises:
        ValueError: It is not a duration above zero.
    """
    parts = re.findall(r"([\d.]+)([dhms])", duration)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not DURATION.fullmatch(duration) or seconds <= 0:
        raise ValueError(
            f"should be a duration such as 90s, 30m or 1h30m, got {duration!r}"
        )
    return seconds


def _checked(duration: str) -> str:
    duration_seconds(duration)
    return duration


Duration = Annotated[str, AfterValidator(_checked)]
"""A duration such as 90s, 30m or 1h30m."""


class TuneConfig(Section):
    """Search for settings of the model and its training.

    Each trial trains one set of settings; the most promising ones are trained longest.
    """

    trials: Annotated[int, Field(ge=2)] = 20
    """Number of sets of settings that are tried; the first one is the configuration
    itself."""

    budget: Duration | None = None
    """Time after which no further trial is started or continued, such as 1h30m;
    default: none."""

    families: tuple[Literal["made", "nade", "eonade", "transformer", "rnn"], ...] = (
        "made",
        "transformer",
    )
    """Model families that are tried, beside that of the configuration."""

    cpus_per_trial: PositiveInt = 1
    """Processors of each trial; trials run side by side on all others."""

    seed: int = 0
    """Seed of the settings that are tried."""
