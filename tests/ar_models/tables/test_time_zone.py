import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.tables.time_zone import zone_offsets

FIRST, LAST = 946_684_800, 1_735_689_600  # 2000 to 2025

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "+05:30",
)


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_are_those_of_arrow(zone: str) -> None:
    utc = np.random.default_rng(0).integers(FIRST, LAST, 20_000)
    offsets = zone_offsets(zone, FIRST, LAST)
    # Seconds around every change, too.
    utc = np.r_[utc, (offsets.changes[:, None] + np.arange(-7300, 7300, 599)).ravel()]
    shift, second = offsets.shift(utc)
    local = utc + shift
    moments = pa.array(utc).view(pa.timestamp("s", zone))
    assert local.tolist() == pc.local_timestamp(moments).view(pa.int64()).to_pylist()
    back = pc.assume_timezone(pc.local_timestamp(moments), zone, ambiguous="earliest")
    assert second.tolist() == pc.not_equal(back, moments).to_pylist()
    assert offsets.to_utc(local, second).tolist() == utc.tolist()


def test_a_skipped_local_time_is_a_later_one() -> None:
    offsets = zone_offsets("Europe/Berlin", FIRST, LAST)
    half_past_two = np.array(["2021-03-28T02:30:00"], "datetime64[s]").astype(np.int64)
    utc = offsets.to_utc(half_past_two, np.array([False]))
    assert utc.astype("datetime64[s]").astype(str).tolist() == ["2021-03-28T01:30:00"]


def test_only_zones_with_summer_time_repeat_hours() -> None:
    repeat = {z for z in ZONES if zone_offsets(z, FIRST, LAST).repeat_any()}
    assert repeat == set(ZONES) - {"Asia/Kathmandu", "+05:30"}


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ValueError, match="Mars/Olympus.*unknown here.*tzdata"):
        zone_offsets("Mars/Olympus", FIRST, LAST)
