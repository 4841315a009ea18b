import math

import numpy as np
import pytest
import torch

from ar_models.layers.date_features import HARMONICS, days_since_1970
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable
from tests.support.models import CALENDAR

YEAR, MONTH, DAY = 2, 3, 4


def calendar_rows(dates: np.ndarray) -> torch.Tensor:
    """Return rows of the variables `CALENDAR` with given dates, (n, dim)."""
    months = dates.astype("datetime64[M]")
    x = torch.zeros(len(dates), len(CALENDAR))
    x[:, YEAR] = torch.from_numpy(months.astype(int) // 12 + 1970 - 1999)
    x[:, MONTH] = torch.from_numpy(months.astype(int) % 12)
    x[:, DAY] = torch.from_numpy((dates - months.astype("datetime64[D]")).astype(int))
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_days_are_counted_over_the_whole_calendar(dtype: torch.dtype) -> None:
    days = np.arange(-719_162, 2_932_897, 11)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    parts = (
        months.astype(int) // 12 + 1970,
        months.astype(int) % 12 + 1,
        (dates - months.astype("datetime64[D]")).astype(int) + 1,
    )
    found = days_since_1970(*(torch.from_numpy(part).to(dtype) for part in parts))
    assert found.tolist() == days.tolist()


def test_a_day_shows_weekday_weekend_and_leap_year() -> None:
    dates = np.arange("1999-12-25", "2000-03-05", dtype="datetime64[D]")
    x = calendar_rows(dates)
    inputs = InputFeatures.of(CALENDAR)
    own = inputs(x)[:, inputs.slice_of(DAY)]
    weekday = (dates.astype(int) + 3) % 7
    assert own[:, 31:38].argmax(-1).tolist() == weekday.tolist()
    assert own[:, 38].tolist() == (weekday >= 5).astype(float).tolist()
    is_leap = dates >= np.datetime64("2000-01-01")
    assert own[:, 39].tolist() == is_leap.astype(float).tolist()


def test_a_month_shows_the_weekday_of_its_first_day() -> None:
    months = np.arange("1999-01", "2003-01", dtype="datetime64[M]")
    first = months.astype("datetime64[D]")
    x = calendar_rows(first)
    x[:, DAY] = torch.nan
    inputs = InputFeatures.of(CALENDAR)
    own = inputs(x)[:, inputs.slice_of(MONTH)]
    assert own[:, 12:19].argmax(-1).tolist() == ((first.astype(int) + 3) % 7).tolist()
    assert not inputs(x)[:, inputs.slice_of(DAY)].any()


def test_constant_parts_of_a_date_need_no_variable() -> None:
    day = Variable(
        "a.day",
        "categorical",
        0,
        size=31,
        date=(2024, 2, 1),
        date_distances=(-1, -1, 0),
    )
    inputs = InputFeatures.of([day])
    own = inputs(torch.tensor([[28.0], [math.nan]]))  # 29 February 2024, a Thursday
    assert own[0, 31:38].argmax() == 3
    assert not own[1].any()


def test_one_variable_has_the_features_of_the_whole() -> None:
    x = calendar_rows(np.arange("1999-01-01", "2002-12-31", 9, dtype="datetime64[D]"))
    x[::3, 1:6] = torch.nan
    inputs = InputFeatures.of(CALENDAR, 4)
    whole = inputs(x)
    for i in range(len(CALENDAR)):
        own, at = inputs.forward_one(x, i)
        assert torch.equal(own, whole[:, at])


def test_the_last_hour_is_as_near_to_the_first_as_the_second() -> None:
    inputs = InputFeatures.of([Variable("h", "categorical", 0, size=24, cyclic=True)])
    waves = inputs(torch.tensor([[23.0], [0.0], [1.0]]))[:, -HARMONICS:]
    before, after = (waves[1] - waves[0]).norm(), (waves[2] - waves[1]).norm()
    torch.testing.assert_close(before, after)
