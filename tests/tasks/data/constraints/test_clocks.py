import numpy as np

from tasks.data.constraints.clocks import clock_times
from tests.support.planted import ROWS, sample, texts

RNG = np.random.default_rng(0)


def hhmm(minutes: np.ndarray) -> np.ndarray:
    """Return minutes of the day as hhmm, midnight as 2400."""
    day = minutes % 1440
    clock = day // 60 * 100 + day % 60
    return np.where(clock == 0, 2400, clock)


def test_clock_times_and_delays_are_found_across_midnight() -> None:
    start = RNG.integers(0, 1440, ROWS)
    delay = RNG.integers(-30, 400, ROWS)
    given = sample(
        planned=hhmm(start), late=delay, actual=hhmm(start + delay), other=delay[::-1]
    )
    found = list(clock_times(given))
    assert texts(found) == {
        "actual = planned + late (clock time, modulo 24 hours)",
        "planned = actual - late (clock time, modulo 24 hours)",
        "late = actual - planned (minutes, modulo 24 hours)",
    }
    assert all(c.rate == 1 for c in found)


def test_minutes_of_the_day_are_times_as_well() -> None:
    start, length = RNG.integers(0, 1440, ROWS), RNG.integers(5, 300, ROWS)
    given = sample(start=start, length=length, stop=(start + length) % 1440)
    assert "stop = start + length (minutes, modulo 24 hours)" in texts(
        clock_times(given)
    )
