"""Input features of the months and days of dates."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ar_models.distributions.variable_groups import VariableGroup
from ar_models.variables import Variable

HARMONICS = 4
"""Number of sines and cosines of a phase that are features."""

DAYS_OF_YEAR = 365
SATURDAY = 5  # counted from Monday, 0

CALENDAR_WIDTH = 7 + 1 + 1 + HARMONICS
"""Number of features of a date by the calendar: weekday, weekend, leap year and
position in the year."""


class DateFeatures(VariableGroup):
    """Features of months or days: the code, and the date that it determines.

    The date follows from the variable and those before it in its group; of a month it
    is the first day, or the constant one. Its features are the weekday, whether it is
    on a weekend and in a leap year, the position in the year, and its number of days,
    scaled and encoded piecewise linearly over the knots. All are 0 where a part of the
    date is NaN.
    """

    codes: Tensor  # (count, size)
    date: Tensor  # (count, 3): year, month and day where their variables are 0
    distances: Tensor  # (count, 3), see `Variable.date_distances`
    location: Tensor  # (count,)
    scale: Tensor  # (count,)
    knots: Tensor  # (count, bins + 1)

    def of_rows(self, x: Tensor, variables: Tensor) -> Tensor:
        """Compute the features (batch, count, width) of variables in rows.

        Args:
            x: Rows (batch, dim), complete at least up to the variables.
            variables: Indices of the variables, (count,).
        """
        varies = self.distances >= 0
        places = variables.unsqueeze(-1) - self.distances.clamp(min=0)
        given = x[:, places]
        parts = self.date + torch.where(varies, given, torch.zeros_like(given))
        year, month, day = parts.unbind(-1)
        days = days_since_1970(year, month, day)
        one = torch.ones_like(year)
        new_year = days_since_1970(year, one, one)
        length = days_since_1970(year + 1, one, one) - new_year
        weekday = (days + 3).remainder(7).unsqueeze(-1)  # 1970-01-01 was a Thursday
        left, right = self.knots[:, :-1], self.knots[:, 1:]
        features = [
            x[:, variables].unsqueeze(-1) == self.codes,
            weekday == torch.arange(7, device=x.device),
            weekday >= SATURDAY,
            (length - DAYS_OF_YEAR).unsqueeze(-1),
            harmonics((days - new_year) / length),
            ((days - self.location) / self.scale).unsqueeze(-1),
            ((days.unsqueeze(-1) - left) / (right - left)).clamp(0, 1),
        ]
        whole = torch.cat([part.to(x.dtype) for part in features], -1)
        return whole.masked_fill(days.isnan().unsqueeze(-1), 0)


def date_features(
    variables: Sequence[Variable], knots: Sequence[Sequence[float]]
) -> DateFeatures:
    """Return the features of months or days.

    Args:
        variables: The months or days, of equal sizes.
        knots: Distinct knots of each, in days since 1970, equally many.
    """
    count, size, bends = len(variables), variables[0].size, len(knots[0])
    constants = {
        "codes": torch.arange(size).expand(count, -1).clone(),
        "date": torch.tensor([v.date for v in variables]),
        "distances": torch.tensor([v.date_distances for v in variables]),
        "location": torch.tensor([v.location for v in variables]),
        "scale": torch.tensor([v.scale for v in variables]),
        "knots": torch.tensor(knots).reshape(count, bends),
    }
    return DateFeatures(size + CALENDAR_WIDTH + 1 + max(bends - 1, 0), constants)


def days_since_1970(year: Tensor, month: Tensor, day: Tensor) -> Tensor:
    """Return the days from 1970-01-01 to dates of the Gregorian calendar.

    All are whole numbers. A day beyond the end of its month counts into the next.

    Reference:
        Hinnant, chrono-compatible low-level date algorithms, 2021.
        https://howardhinnant.github.io/date_algorithms.html
    """
    is_early = (month <= 2).to(year.dtype)
    from_march = year - is_early
    leap_days = (
        (from_march / 4).floor()
        - (from_march / 100).floor()
        + (from_march / 400).floor()
    )
    of_months = ((153 * (month - 3 + 12 * is_early) + 2) / 5).floor()
    return DAYS_OF_YEAR * from_march + leap_days + of_months + day - 719_469


def harmonics(phase: Tensor) -> Tensor:
    """Return sine and cosine of a phase in turns, with one and two periods: (*, 4)."""
    angle = 2 * math.pi * phase.unsqueeze(-1)
    waves = [angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()]
    return torch.cat(waves, -1)
