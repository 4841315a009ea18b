import dataclasses
import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.data.counts import ApproximateCounts, ExactCounts
from tasks.data.sketches import ListSketch, Sketch, merge
from tests.support.sketching import sketched


def test_approximate_sketches_do_not_depend_on_chance() -> None:
    values = pa.array(np.random.default_rng(2).normal(size=20_000))
    first, second = (sketched(values, 100) for _ in range(2))
    assert isinstance(first.counts, ApproximateCounts)
    assert first.distribution().values.tolist() == second.distribution().values.tolist()
    assert first.counts.digest == second.counts.digest


ARRAYS = {
    "words": pa.array(["a", None, "b", "a"]),
    "integers": pa.array([3, None, 5, 3], pa.int8()),
    "reals": pa.array([1.5, None, float("nan"), float("inf")]),
    "timestamps": pa.array([60, 180, None, 120], pa.timestamp("s")),
    "lists": pa.array([[1, 2], None, [], [2]]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_sketch_of_all_rows_is_the_merged_sketch_of_parts(name: str) -> None:
    array = ARRAYS[name]
    merged = merge(sketched(array.slice(0, 2)), sketched(array.slice(2)), 1 << 14)
    assert summary(merged) == summary(sketched(array))


def summary(sketch: Sketch) -> dict[str, Any]:
    """Return the fields of a sketch, its counts in order of the values."""
    fields = {f.name: getattr(sketch, f.name) for f in dataclasses.fields(sketch)}
    if isinstance(sketch, ListSketch):
        inner = {name: summary(field) for name, field in sketch.fields.items()}
        return fields | {"lengths": summary(sketch.lengths), "fields": inner}
    assert isinstance(sketch.counts, ExactCounts)
    values = sketch.counts.values.to_pylist()
    counts = sketch.counts.counts.tolist()
    return fields | {"counts": sorted(zip(values, counts, strict=True))}


def test_a_sketch_counts_what_is_no_regular_value() -> None:
    sketch = sketched(ARRAYS["reals"])
    assert (sketch.rows, sketch.missing, sketch.regular) == (4, 1, 1)
    assert sketch.specials == {"nan": 1, "+inf": 1, "-inf": 0}
    assert (sketch.low, sketch.high, sketch.is_whole) == (1.5, 1.5, False)


def test_the_divisor_of_timestamps_is_their_grid() -> None:
    sketch = sketched(ARRAYS["timestamps"])
    assert sketch.divisor == 60


def test_too_many_words_are_not_counted() -> None:
    sketch = sketched(pa.array(list("abcdef")), max_distinct=5)
    assert sketch.distinct is None
    merged = merge(sketch, sketched(pa.array(["a"])), 5)
    assert (merged.rows, merged.distinct) == (7, None)


def test_repetitions_across_parts_are_noticed() -> None:
    one, other = pa.array([1, 2]), pa.array([2, 3])
    merged = merge(sketched(one), sketched(other), 9)
    assert merged.repeats
    approximate = merge(sketched(one, 1), sketched(other, 1), 1)
    assert isinstance(approximate.counts, ApproximateCounts)
    assert approximate.repeats


def test_many_distinct_values_keep_their_distribution() -> None:
    rng = np.random.default_rng(8)
    values = np.where(rng.random(40_000) < 0.25, 0, rng.lognormal(9, 1, 40_000))
    whole = pa.array(values.astype(np.int64))
    parts = [
        sketched(whole.slice(begin, 8000), 500) for begin in range(0, 40_000, 8000)
    ]
    merged = functools.reduce(lambda one, other: merge(one, other, 500), parts)
    assert isinstance(merged.counts, ApproximateCounts)
    assert merged.rows == 40_000
    assert (merged.low, merged.high) == (0, pc.max(whole).as_py())
    found = merged.distribution()
    for share in (0.3, 0.5, 0.9, 0.999):
        rank = (values.astype(np.int64) <= found.quantile(share)).mean()
        assert abs(rank - share) < 0.003
    zeros = int((whole.to_numpy() == 0).sum())
    assert merged.frequent_values(0.01, 4)[0] == zeros
    exact = len(set(whole.to_pylist()))
    assert abs(merged.distinct - exact) < 0.1 * exact


def test_parts_with_different_decimals_have_the_more() -> None:
    one, other, third = (
        sketched(pa.array(values)) for values in ([1.5], [0.25], [1 / 3])
    )
    assert merge(one, other, 9).decimals == 2
    assert merge(merge(one, third, 9), other, 9).decimals is None
