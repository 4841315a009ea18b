"""Uniformity of p-values: honest ones pass whatever the number of rows."""

import numpy as np
import pytest

from ar_models.scoring.conformal import Ranking
from tasks.evaluation.uniformity import Uniformity, chance_distance


def p_values(
    rows: int, calibration_rows: int, seed: int, shift: float = 0.0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ranking = Ranking.of(rng.normal(size=calibration_rows))
    return ranking.rank(rng.normal(shift, size=rows))[0]


@pytest.mark.parametrize(("rows", "calibration_rows"), [(8, 9), (100, 60), (5000, 300)])
def test_exchangeable_rows_pass_whatever_their_number(
    rows: int, calibration_rows: int
) -> None:
    faults = [
        Uniformity.of(p_values(rows, calibration_rows, seed), calibration_rows).fault()
        for seed in range(100)
    ]
    # One of a hundred is expected at most.
    assert len([fault for fault in faults if fault]) <= 3


def test_equal_scores_are_no_fault() -> None:
    rng = np.random.default_rng(0)
    ranking = Ranking.of(rng.integers(0, 3, 2000).astype(float))
    p, _ = ranking.rank(rng.integers(0, 3, 2000).astype(float))
    assert len(np.unique(p)) == 3
    assert Uniformity.of(p, 2000).fault() is None
    changed, _ = ranking.rank(rng.integers(1, 3, 2000).astype(float))
    assert Uniformity.of(changed, 2000).fault() is not None


@pytest.mark.parametrize(("shift", "direction"), [(1.0, "more"), (-1.0, "less")])
def test_shifted_rows_are_named_with_the_direction(
    shift: float, direction: str
) -> None:
    found = Uniformity.of(p_values(2000, 2000, 0, shift), 2000)
    fault = found.fault(0.1)
    assert fault is not None
    assert f"are {direction} anomalous than the 2,000 calibration rows" in fault
    assert found.fault(1.0) is None


def test_more_rows_leave_less_to_chance() -> None:
    assert chance_distance(20_000, 20_000) < 0.02 < chance_distance(100, 20_000)
    assert chance_distance(10**9, 100) == pytest.approx(chance_distance(100, 10**9))
