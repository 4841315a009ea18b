"""Distances between a batch and a reference: by hand, in the mean, with intervals."""

import numpy as np
import pytest

from tasks.monitoring import drift
from tasks.monitoring.drift import Effects, measure_effects
from tasks.monitoring.histograms import UNIT, Histogram, Scale
from tasks.monitoring.reference import number_scale

SPECIALS = ("missing", "nan")


def counted(counts: list[int], sums: list[float] | None = None) -> Histogram:
    return Histogram(np.array(counts), np.array(sums or [0.0] * len(counts)))


def found(scale: Scale, old: Histogram, new: Histogram, **options: object) -> Effects:
    settings = {"resamples": 200, "confidence": 0.99, **options}
    return measure_effects(scale, old, new, **settings)  # type: ignore[arg-type]


def test_distances_by_hand() -> None:
    scale = Scale((1.0, 2.0), ("missing",), spread=2.0)
    old = counted([2, 2, 0, 4], [2.0, 4.0, 0.0, 0.0])
    new = counted([0, 2, 2, 0], [0.0, 4.0, 8.0, 0.0])
    sizes = found(scale, old, new)
    # Shares are 1/4, 1/4, 0, 1/2 and 0, 1/2, 1/2, 0: up to 1 they differ by a quarter,
    # the missing by a half, and so do the sums up to the last number.
    assert sizes.ks.value == pytest.approx(0.5)
    # Half of the numbers go from 1 to 2, the other half from 2 to 4.
    assert sizes.wasserstein.value == pytest.approx(1.5 / 2.0)
    p, q = np.array([2.5, 2.5, 0.5, 4.5]), np.array([0.5, 2.5, 2.5, 0.5])
    groups = drift.merge_bins(scale, old.counts)
    assert groups.tolist() == [2, 7, 9, 10]
    p, q = p / p.sum(), q / q.sum()
    assert sizes.psi.value == pytest.approx(float(((q - p) * np.log(q / p)).sum()))


def test_codes_are_compared_without_an_order() -> None:
    scale = Scale((), ("a", "b", "c"))
    sizes = found(scale, counted([50, 50, 0]), counted([50, 0, 50]))
    assert sizes.ks.value == pytest.approx(0.5)
    assert sizes.wasserstein is None


def test_a_shift_is_as_far_as_it_is() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(10, 3, 20_000)
    distinct, counts = np.unique(values, return_counts=True)
    scale = number_scale(distinct, counts, SPECIALS)
    assert scale.spread == pytest.approx(3, rel=0.05)
    old = scale.count(values)
    new = scale.count(rng.normal(10 + 1.5, 3, 20_000))
    size = found(scale, old, new).wasserstein
    assert size.value == pytest.approx(0.5, abs=0.03)
    assert size.low < 0.5 < size.high
    far = scale.count(rng.normal(1e9, 3, 100))
    assert 5 < found(scale, old, far).wasserstein.value < 15


@pytest.mark.parametrize("rows", [200, 5000])
def test_equal_distributions_are_rarely_far_apart(rows: int) -> None:
    rng = np.random.default_rng(rows)
    lows, values = [], []
    for _ in range(40):
        old, new = (UNIT.count(rng.random(rows)) for _ in range(2))
        size = found(UNIT, old, new).ks
        assert 0 <= size.low <= size.value <= size.high
        lows.append(size.low)
        values.append(size.value)
    # The distance of samples alone is about 0.87 * sqrt(2 / rows).
    assert 0.7 < np.mean(values) / (0.87 * np.sqrt(2 / rows)) < 1.3
    assert max(lows) < 0.06


@pytest.mark.parametrize("sizes", [(100, 3000), (3000, 100), (200, 200)])
def test_a_few_rows_of_many_codes_are_not_taken_for_drift(
    sizes: tuple[int, int],
) -> None:
    rng = np.random.default_rng(3)
    chances = 1 / np.arange(1, 41)
    scale = Scale((), tuple(map(str, range(40))))
    values = []
    for _ in range(40):
        old, new = (
            counted(rng.multinomial(n, chances / chances.sum()).tolist()) for n in sizes
        )
        size = found(scale, old, new, resamples=100).ks
        values.append(size.value)
        assert size.low < 0.1
        # It would have to be: the distance of samples alone is so great.
        assert size.chance > 0.15
    assert max(values) > 0.2


def test_a_change_is_told_from_chance_where_rows_are_few() -> None:
    scale = Scale((), tuple(map(str, range(40))))
    old = counted([4] * 20 + [1] * 20)
    new = counted([1] * 20 + [150] * 20)
    size = found(scale, old, new).ks
    assert 0.3 < size.low < size.value


def test_an_interval_covers_the_distance() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(40):
        old = UNIT.count(rng.random(1000))
        new = UNIT.count(rng.random(1000) ** 1.5)
        # |u - u^(2/3)| is greatest at u = 8/27.
        size = found(UNIT, old, new, confidence=0.9).ks
        inside += size.low <= 4 / 9 - 8 / 27 <= size.high
    # Of 40 intervals of 90 %: fewer than 30 once in 500 seeds.
    assert inside >= 30


def test_the_same_counts_give_the_same_interval() -> None:
    old, new = UNIT.count(np.linspace(0, 1, 500)), UNIT.count(np.linspace(0, 1, 90))
    assert found(UNIT, old, new) == found(UNIT, old, new)
