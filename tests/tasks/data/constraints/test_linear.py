import numpy as np
import pyarrow as pa

from tasks.data.constraints.linear import linear_formulas
from tests.support.planted import ROWS, fare_columns, planted, sample, texts

RNG = np.random.default_rng(0)


def test_a_sum_of_four_with_a_constant_by_category_is_found() -> None:
    found = list(linear_formulas(sample(**fare_columns())))
    total = max((c for c in found if c.column == "total"), key=lambda c: c.gain)
    assert set(total.formula.columns) == {"fare", "tip", "tolls", "extra", "kind"}
    assert total.formula.describe().endswith("+ constant of kind")
    assert int(total.matched.sum()) == ROWS - 4


def test_constants_of_units_are_simple_numbers() -> None:
    celsius = np.round(RNG.normal(15, 8, ROWS), 1)
    net = np.round(RNG.lognormal(4, 1, ROWS), 2)
    year, month = RNG.integers(1990, 2020, ROWS), RNG.integers(1, 13, ROWS)
    given = sample(
        celsius=celsius,
        fahrenheit=np.round(planted(1.8 * celsius + 32, 20), 1),
        net=net,
        vat=np.round(0.19 * net, 2),
        year=year,
        month=month,
        date=np.round(year + (month - 1) / 12, 11),
    )
    found = texts(linear_formulas(given))
    assert "fahrenheit = 1.8 * celsius + 32" in found
    assert "vat = 0.19 * net" in found
    assert any(f.startswith("date = month / 12 + year") for f in found)


def test_an_age_is_rounded_down() -> None:
    birth = RNG.integers(-8000, 12_000, ROWS)
    age = np.floor((19_700 - birth) / 365.25).astype(int)
    days = pa.array(birth, pa.int32()).cast(pa.date32())
    found = [c for c in linear_formulas(sample(birth=days, age=age))]
    assert {c.column for c in found} == {"age"}
    assert max(c.rate for c in found) >= 0.999


def test_products_of_columns_are_terms_of_sums() -> None:
    number, price = RNG.integers(1, 12, ROWS), np.round(RNG.lognormal(3, 1, ROWS), 2)
    rebate = np.round(RNG.random(ROWS) * 5, 2)
    total = np.round(number * price - rebate, 2)
    given = sample(number=number, price=price, rebate=rebate, total=total)
    found = texts(linear_formulas(given, multiplied=True))
    assert "total = number * price - rebate" in found


def test_columns_with_nulls_are_terms_where_they_have_values() -> None:
    a, b = RNG.integers(0, 900, ROWS), RNG.integers(0, 900, ROWS)
    gaps = RNG.random(ROWS) < 0.3
    given = sample(
        a=pa.array(a, mask=gaps), b=b, c=pa.array(a - b, mask=gaps), d=b[::-1]
    )
    found = {c.column: c for c in linear_formulas(given)}
    assert found["c"].formula.describe() == "a - b"
    assert found["c"].rate == 1
