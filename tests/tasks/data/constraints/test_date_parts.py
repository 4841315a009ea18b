import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.data.constraints.date_parts import all_zones, date_parts
from tests.support.planted import ROWS, sample, texts

RNG = np.random.default_rng(0)
TIMES = pa.array(
    RNG.integers(1_600_000_000, 1_640_000_000, ROWS), pa.timestamp("s", "UTC")
)


def test_parts_of_a_timestamp_are_found_in_their_time_zone() -> None:
    local = pc.local_timestamp(TIMES.cast(pa.timestamp("s", "Europe/Berlin")))
    hour = pc.hour(local).to_numpy().copy()
    hour[::500] = 3
    given = sample(
        time=TIMES,
        date=local.cast(pa.date32(), safe=False),
        hour=hour,
        minute=pc.minute(TIMES),
        weekday=pc.day_of_week(local),
        day_name=pc.strftime(local, format="%A"),
        utc_hour=pc.hour(TIMES),
        other=RNG.integers(0, 24, ROWS),
    )
    found = texts(date_parts(given))
    assert {f for f in found if not f.endswith("of date")} == {
        "date = date of time in Europe/Berlin",
        "hour = hour of time in Europe/Berlin",
        "minute = minute of time",
        "weekday = day of week of time in Europe/Berlin",
        "day_name = day name of time in Europe/Berlin",
        "utc_hour = hour of time",
    }
    assert "weekday = day of week of date" in found


def test_all_regions_have_time_zones() -> None:
    assert {"Europe/Berlin", "America/New_York", "Asia/Kolkata"} <= set(all_zones())
