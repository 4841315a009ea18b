"""Tests of what is reported as a violation."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.fidelity.findings import StackedRows, is_clearly_larger
from tasks.evaluation.fidelity.tables import Tables


@pytest.mark.parametrize(
    ("synthetic", "held_out", "clear"),
    [(30, 0, True), (15, 0, False), (80, 10, True), (25, 10, False), (900, 90, False)],
)
def test_only_clearly_larger_shares_of_rules_are_reported(
    synthetic: int, held_out: int, clear: bool
) -> None:
    rows = np.arange(2000)
    assert is_clearly_larger(rows < synthetic, rows < held_out) is clear


def test_two_halves_of_real_rows_seldom_differ() -> None:
    # A statistic of 30 has a p-value of 4e-8: no false alarm in 2,000 comparisons.
    rng = np.random.default_rng(0)
    shares = rng.choice([0.0005, 0.002, 0.009], 2000)
    halves = rng.random((2000, 2, 3000)) < shares[:, None, None]
    assert not any(is_clearly_larger(a, b) for a, b in halves)


def test_examples_are_the_most_frequent_violations() -> None:
    real = pa.table({"a": [1] * 100, "b": ["x"] * 100})
    synthetic = pa.table({"a": [1] * 50 + [2, None] * 25, "b": ["x"] * 74 + ["y"] * 26})
    rows = StackedRows.stack(Tables(real, real, synthetic))
    wrong = np.arange(300) >= 250

    found = rows.violation("values", ("a", "b"), "a rule", wrong)

    assert found is not None
    assert (found.synthetic, found.held_out) == (0.5, 0)
    assert found.examples[:2] == ("a = 2, b = y", "a = null, b = y")
    assert rows.violation("values", ("a",), "a rule", wrong[::-1]) is None


def test_columns_of_other_types_are_stacked() -> None:
    real = pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()})
    synthetic = pa.table(
        {"a": [0.5, 2.0], "b": pa.array(["z", "x"], pa.large_string())}
    )

    table = StackedRows.stack(Tables(real, real, synthetic)).table

    assert table["a"].to_pylist() == [1, None, 1, None, 0.5, 2]
    assert table["b"].to_pylist() == ["x", "y", "x", "y", "z", "x"]
