import numpy as np

from tasks.data.constraints.products import products
from tests.support.planted import ROWS, planted, sample, texts

RNG = np.random.default_rng(0)


def test_products_percentages_and_powers_are_found() -> None:
    volt, current = RNG.integers(200, 260, ROWS), np.round(RNG.gamma(2, 2, ROWS), 2)
    weight, height = np.round(RNG.normal(75, 9, ROWS), 1), RNG.integers(150, 200, ROWS)
    given = sample(
        volt=volt,
        current=current,
        power=np.round(planted(volt * current, 4), 2),
        weight=weight,
        height=height,
        index=np.round(weight / (height / 100) ** 2, 1),
    )
    found = texts(products(given))
    assert "power = volt * current" in found or "power = current * volt" in found
    assert "index = 10000 * weight / height ** 2" in found


def test_a_ratio_to_a_sum_is_found() -> None:
    x, y = np.round(RNG.normal(6, 1, ROWS), 2), np.round(RNG.normal(9, 1, ROWS), 2)
    share = np.round(100 * x / (x + y), 2)
    found = texts(products(sample(x=x, y=y, share=share)))
    assert "share = 100 * x / (x + y)" in found


def test_halves_are_rounded_as_in_the_data() -> None:
    price, pieces = np.round(RNG.gamma(3, 9, ROWS), 2), RNG.integers(1, 80, ROWS)
    given = sample(
        price=price,
        pieces=pieces,
        vat=np.round(0.25 * price, 2),
        each=np.round(price / pieces, 2),
    )
    rates = {c.formula.describe(): c.rate for c in products(given)}
    assert rates["price / pieces"] == 1
