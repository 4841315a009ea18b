import numpy as np

from tasks.data.constraints.divisions import divisions
from tests.support.planted import ROWS, sample, texts


def test_quotients_and_remainders_are_found() -> None:
    rng = np.random.default_rng(0)
    clock = rng.integers(0, 24, ROWS) * 100 + rng.integers(0, 60, ROWS)
    price = np.round(rng.lognormal(3, 1, ROWS), 2)
    given = sample(
        clock=clock,
        hour=clock // 100,
        minute=clock % 100,
        price=price,
        whole=np.floor(price),
        other=rng.integers(0, 24, ROWS),
    )
    assert texts(divisions(given)) == {
        "hour = clock // 100",
        "minute = clock % 100",
        "whole = price // 1",
    }


def test_few_exceptions_do_not_hide_a_quotient() -> None:
    rng = np.random.default_rng(1)
    clock = rng.integers(0, 24, ROWS) * 100 + rng.integers(0, 60, ROWS)
    hour = np.where(rng.random(ROWS) < 0.004, 99, clock // 100)
    hour[:8] = 99  # a third of the rows that are compared first
    assert "hour = clock // 100" in texts(divisions(sample(clock=clock, hour=hour)))
