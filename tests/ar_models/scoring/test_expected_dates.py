from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import torch

from ar_models.families.independent import Independent
from ar_models.scoring.expected_dates import expected_parts
from ar_models.tables.calendar_column import CalendarColumn
from tests.support.columns import fit_columns


def described(moments: list[datetime], row: datetime) -> str:
    """Return what independent parts of some moments say of a row."""
    table = pa.table({"t": pa.array(moments, pa.timestamp("s"))})
    encoder = fit_columns(table, columns={"t": {"kind": "timestamp"}})
    column = encoder.columns[0]
    assert isinstance(column, CalendarColumn)
    model = Independent(encoder.variables, Independent.Settings())
    given = pa.table({"t": pa.array([row], pa.timestamp("s"))})
    x = torch.from_numpy(encoder.encode(given).x)
    with torch.inference_mode():
        (text,) = expected_parts(column, model.conditionals(x), x)
    return text


def test_the_most_anomalous_part_is_named() -> None:
    start = datetime(2023, 1, 1)
    moments = [start + timedelta(days=i, hours=14 + i % 2) for i in range(365)]
    moments.append(start + timedelta(days=100, hours=3))
    assert described(moments, moments[-1]) == "hour: 14 (49 %), 15 (48 %)"
    rare_month = [m for m in moments if m.month != 2] + [datetime(2023, 2, 5, 14)]
    assert described(rare_month, rare_month[-1]).startswith("month: ")


def test_a_day_on_an_improbable_weekday_is_named_by_its_weekday() -> None:
    # In January 2023, all Mondays and one Tuesday.
    mondays = [datetime(2023, 1, day) for day in (2, 9, 16, 23, 30)] * 40
    tuesday = datetime(2023, 1, 3)
    text = described([*mondays, tuesday], tuesday)
    assert text.startswith("weekday: Monday (9")


def test_years_beyond_codes_are_described_by_their_median() -> None:
    years = np.repeat(np.arange(1000, 1400), 3)
    moments = [datetime(int(year), 1, 1) for year in years]
    text = described([*moments, datetime(1990, 1, 1)], datetime(1990, 1, 1))
    assert text.startswith("year: about 1")
