"""Distances between distributions."""

import numpy as np
import pytest

from tasks.data.counts import EmpiricalDistribution
from tasks.data.profile import cumulative_shares
from tasks.evaluation import distances


def test_distances_from_uniform_by_hand() -> None:
    assert distances.ks_from_uniform(np.array([0.5])) == 0.5
    assert distances.ks_from_uniform(np.array([0.1, 0.2])) == pytest.approx(0.8)
    assert distances.binned_ks_from_uniform(np.array([4, 0])) == 0.5
    assert distances.binned_ks_from_uniform(np.array([0, 0])) == 0.0


def test_the_ks_distance_of_cdfs_is_exact_to_the_grid() -> None:
    rng = np.random.default_rng(0)
    samples = [np.sort(rng.normal(shift, 1, 4000)) for shift in (0, 0.5)]
    cdfs = [
        cumulative_shares(EmpiricalDistribution(s, np.ones(len(s)))) for s in samples
    ]
    both = np.concatenate(samples)
    reached = [np.searchsorted(s, both, side="right") / len(s) for s in samples]
    exact = np.abs(reached[0] - reached[1]).max()
    assert distances.ks_of_cdfs(*cdfs) == pytest.approx(exact, abs=2 / 64)
    assert distances.ks_of_cdfs(cdfs[0], cdfs[0]) == 0
    coin = [
        cumulative_shares(EmpiricalDistribution(np.array([0, 1]), np.array(c)))
        for c in ([7, 3], [4, 6])
    ]
    assert distances.ks_of_cdfs(*coin) == pytest.approx(0.3)


def test_values_that_are_only_not_listed_do_not_count() -> None:
    variation = distances.total_variation_of_frequent
    assert variation({"a": 0.5, "b": 0.5}, {"a": 0.2, "c": 0.8}, 50) == pytest.approx(
        0.8
    )
    ours = {f"w{k}": 0.01 for k in range(50)}
    theirs = {f"w{k}": 0.01 for k in range(5, 55)}
    assert variation(ours, theirs, 50) == pytest.approx(0)


def test_psi_and_total_variation_by_hand() -> None:
    p, q = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0.2, 0.8])
    assert distances.total_variation(p, q).tolist() == pytest.approx([0.3, 0])
    psi = 0.3 * np.log(0.5 / 0.2) - 0.3 * np.log(0.5 / 0.8)
    found = distances.population_stability_index(p, q)
    assert found.tolist() == pytest.approx([psi, 0])
