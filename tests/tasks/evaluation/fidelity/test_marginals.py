"""Accuracy of synthetic rows with known answers."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.fidelity import marginals
from tasks.evaluation.fidelity.classifiers import TwoSampleTest
from tests.support.dependent_columns import dependent_columns


def test_equal_tables_are_perfectly_accurate() -> None:
    real = dependent_columns(500, 0)
    one, two = marginals.accuracies(real, real)

    assert set(one) == set(real.column_names)
    assert len(two) == 10
    assert all(value == pytest.approx(1) for value in [*one.values(), *two.values()])


def test_accuracy_is_one_minus_the_total_variation() -> None:
    real = pa.table({"a": ["x"] * 60 + ["y"] * 40, "b": ["u"] * 50 + ["v"] * 50})
    other = pa.table({"a": ["x"] * 30 + ["z"] * 20, "b": [None] * 25 + ["v"] * 25})

    one, two = marginals.accuracies(real, other)

    # a: x 0.6 against 0.6, y 0.4 against 0, z 0 against 0.4.
    assert one["a"] == pytest.approx(0.6)
    # b: u 0.5 against 0, v 0.5 against 0.5, null 0 against 0.5.
    assert one["b"] == pytest.approx(0.5)
    # xu 0.5, xv 0.1, yv 0.4 against x-null 0.5, xv 0.1, zv 0.4: 0.1 in common.
    assert two["a", "b"] == pytest.approx(0.1)


def test_numbers_are_compared_by_deciles_and_the_rest_by_frequency() -> None:
    real = pa.table({"n": np.arange(1000.0), "w": [f"w{k % 20}" for k in range(1000)]})
    upper = pa.table({"n": np.arange(500.0, 1000.0), "w": ["w19"] * 500})

    one, _ = marginals.accuracies(real, upper)

    assert one["n"] == pytest.approx(0.5, abs=0.002)
    # Ten of the 20 equally frequent words have codes of their own, w19 has not.
    assert one["w"] == pytest.approx(0.5)


def test_shuffled_columns_keep_marginals_and_lose_pairs() -> None:
    real = dependent_columns(4000, 0)
    rng = np.random.default_rng(1)
    shuffled = pa.table(
        {n: real[n].take(pa.array(rng.permutation(4000))) for n in real.column_names}
    )

    one, two = marginals.accuracies(real, shuffled)

    assert min(one.values()) == pytest.approx(1)
    assert two["kind", "code"] == pytest.approx(1 / 3, abs=0.03)
    assert TwoSampleTest.fit(real, shuffled).auc > 0.8
