import numpy as np
import pyarrow as pa
import pytest

from tasks.data.counts import ApproximateCounts, EmpiricalDistribution, ExactCounts

VALUES = np.round(np.random.default_rng(0).lognormal(8, 1, 50_000)).astype(np.int64)


def counted(values: np.ndarray) -> ExactCounts:
    """Return the exact counts of values."""
    distinct, counts = np.unique(values, return_counts=True)
    return ExactCounts(pa.array(distinct), counts)


def approximated() -> ApproximateCounts:
    """Return approximate counts of `VALUES`, merged from two halves."""
    first, second = np.split(VALUES, 2)
    return counted(first).approximate().merge(counted(second).approximate())


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.9, 0.999])
def test_approximate_quantiles_have_the_right_rank(share: float) -> None:
    low, high = int(VALUES.min()), int(VALUES.max())
    found = approximated().distribution(low, high).quantile(share)
    assert (VALUES <= found).mean() == pytest.approx(share, abs=0.003)


def test_the_number_of_distinct_values_is_estimated() -> None:
    assert approximated().distinct == pytest.approx(counted(VALUES).distinct, rel=0.1)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_frequent_values_are_found_with_their_counts(dtype: type) -> None:
    values = np.where(np.arange(len(VALUES)) % 5 == 0, 7, VALUES).astype(dtype)
    counts = counted(values)
    expected = [(7, int((values == 7).sum()))]
    assert counts.above(0.1 * len(values)) == expected
    assert counts.approximate().above(0.1 * len(values)) == expected


def test_exact_counts_add_up() -> None:
    merged = counted(np.array([1, 1, 3])).merge(counted(np.array([3, 2])))
    found = dict(zip(merged.values.to_pylist(), merged.counts.tolist(), strict=True))
    assert found == {1: 2, 3: 2, 2: 1}


def test_a_distribution_is_sorted_and_leaves_values_out() -> None:
    values, counts = np.array([5, 1, 5, 3]), np.array([1.0, 2.0, 3.0, 4.0])
    given = EmpiricalDistribution.of(values, counts, without=[3])
    assert given.values.tolist() == [1, 5]
    assert given.counts.tolist() == [2.0, 4.0]
    assert [given.quantile(q) for q in (0.0, 0.3, 0.4, 1.0)] == [1, 1, 5, 5]
