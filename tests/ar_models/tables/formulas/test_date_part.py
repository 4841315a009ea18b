from datetime import date, datetime

import pyarrow as pa
import pytest

from ar_models.tables.formulas.choices import Part
from ar_models.tables.formulas.date_part import PARTS, DatePart

WHEN = pa.array([datetime(2021, 1, 1, 3, 4, 5), None], pa.timestamp("us"))
NAMES = ["Friday", "January", "Fri", "Jan"]
VALUES = [date(2021, 1, 1), 2021, 1, 1, 53, 1, 1, 4, 5, *NAMES, 3, 4, 5]


@pytest.mark.parametrize(("part", "value"), list(zip(PARTS, VALUES, strict=True)))
def test_parts_are_those_of_the_calendar(part: Part, value: object) -> None:
    type = {date: pa.date32(), int: pa.int32(), str: pa.string()}[value.__class__]
    found = DatePart("t", part).evaluate({"t": WHEN}, type)
    assert found.to_pylist() == [value, None]


def test_dates_are_local_and_may_be_text() -> None:
    formula = DatePart("t", "date", "America/New_York")
    found = formula.evaluate({"t": WHEN}, pa.string())
    assert found.to_pylist() == ["2020-12-31", None]
    assert formula.evaluate({"t": pa.array([1])}, pa.date32()).null_count == 1
