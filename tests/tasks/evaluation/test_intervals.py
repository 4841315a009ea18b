"""Confidence intervals of means."""

import math

import numpy as np
import pytest

from tasks.evaluation.intervals import bootstrap_interval


@pytest.mark.parametrize("rows", [3000, 30_000])
def test_an_interval_is_that_of_the_mean(rows: int) -> None:
    values = np.random.default_rng(0).exponential(2.0, rows)
    low, high = bootstrap_interval(values, 0.95, 1000)
    half = 1.96 * values.std() / math.sqrt(rows)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert bootstrap_interval(values, 0.95, 1000) == (low, high)
    narrow = bootstrap_interval(values, 0.5, 1000)
    assert low < narrow[0] < narrow[1] < high
