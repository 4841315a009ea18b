"""Tests of codes that two tables share."""

import numpy as np
import pyarrow as pa

from tasks.evaluation.fidelity.codes import BINS, encode_bins, encode_categories


def test_numbers_are_binned_at_the_deciles_of_the_reference() -> None:
    reference = pa.chunked_array([pa.array(np.arange(100.0))])
    left, right = encode_bins(reference, pa.chunked_array([[-5.0, None, 55.0, 1e9]]))

    assert np.bincount(left).tolist() == [10] * BINS
    assert right.tolist() == [0, BINS + 1, 5, BINS - 1]


def test_categories_are_ranked_by_frequency_in_the_reference() -> None:
    reference = pa.chunked_array([["b", "a", "b", "c", None, "b", "a"]])
    left, right = encode_categories(reference, pa.chunked_array([["c", "b", "d"]]), 2)

    assert left.tolist() == [0, 1, 0, 2, -1, 0, 1]
    assert right.tolist() == [2, 0, 2]
