"""Texts that describe the dates and times that a model expects."""

import numpy as np
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.scoring.expected_values import SMALL, codes, quantiles
from ar_models.tables.calendar_column import (
    DATE_PARTS,
    CalendarColumn,
    join_dates,
)

WEEKDAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)


def expected_parts(column: CalendarColumn, own: Conditionals, x: Tensor) -> list[str]:
    """Describe the expected values of the most anomalous part of dates or times.

    Args:
        column: The column.
        own: Conditionals of its variables.
        x: Variables of the column, (n, variables).

    Returns:
        Texts such as "hour: 14 (40 %), 15 (22 %)", in the column's time zone; of a day
        on an improbable weekday, the expected weekdays.
    """
    excess = (-own.log_prob(x) - own.entropy()).masked_fill(x.isnan(), -torch.inf)
    most_anomalous = excess[:, column.value :].argmax(dim=1) + column.value
    texts = np.empty(len(x), dtype=object)
    for i, part in enumerate(column.parts, column.value):
        blamed = most_anomalous == i
        if not bool(blamed.any()):
            continue
        at = blamed.cpu().numpy()
        if not column.variables[i].size:
            of_all = np.array(quantiles(own, i, _whole_numbers), dtype=object)
            texts[at] = [f"{part}: {expected}" for expected in of_all[at]]
            continue
        shares = own.probabilities(i)[blamed]
        described = codes(shares, column.code_names(i))
        texts[at] = [f"{part}: {expected}" for expected in described]
        if part == "day":
            texts[at] = _weekdays(column, shares, x[blamed], list(texts[at]))
    return list(texts)


def _weekdays(
    column: CalendarColumn, shares: Tensor, x: Tensor, texts: list[str]
) -> list[str]:
    """Replace the texts of days on an improbable weekday by the expected weekdays.

    Args:
        column: The column.
        shares: Probabilities of the days of the month, (n, 31).
        x: Variables of the column, (n, variables).
        texts: Texts about the days, (n,).
    """
    constants = dict(column.constants)
    values = x.cpu().numpy().astype(np.float64)
    date = {}
    for part in DATE_PARTS:
        if part in column.parts:
            codes_of_part = values[:, column.value + column.parts.index(part)]
            date[part] = np.nan_to_num(codes_of_part) + column.zero_of(part)
        else:
            date[part] = np.full(len(values), constants[part], np.float64)
    year, month, day = (date[part].astype(np.int64) for part in DATE_PARTS)
    first = join_dates(year, month, np.ones_like(day))
    weekday = (first[:, None] + np.arange(shares.shape[1]) + 3) % 7
    places = torch.from_numpy(weekday).to(shares.device)
    of_weekdays = shares.new_zeros(len(shares), 7).scatter_add(1, places, shares)
    known = ~np.isnan(values[:, column.value :]).any(axis=1)
    own = of_weekdays.cpu().numpy()[np.arange(len(day)), (first + day + 2) % 7]
    described = codes(of_weekdays, WEEKDAYS)
    return [
        f"weekday: {expected}" if replaced else old
        for expected, replaced, old in zip(
            described, known & (own < SMALL), texts, strict=True
        )
    ]


def _whole_numbers(values: np.ndarray) -> list[str]:
    """Format whole numbers."""
    return [f"{value:.0f}" for value in values]
