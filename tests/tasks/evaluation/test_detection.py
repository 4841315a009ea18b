"""Detection of labelled anomalies by their scores."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.detection import detection


def test_areas_by_hand() -> None:
    scores = np.array([5.0, 4.0, 4.0, 3.0, 2.0])
    labels = pa.chunked_array([[True, True, False, False, True]])
    found = detection(scores, labels, 2, confidence=0.95, resamples=50)
    # Of 6 pairs: 5 beats both; 4 ties with one and beats one; 2 beats none.
    assert found["auroc"] == pytest.approx((2 + 1.5 + 0) / 6)
    # Ranks 1, 3 (a tie) and 5 hold the anomalies.
    assert found["auprc"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert (found["precision"], found["recall"]) == (1.0, pytest.approx(2 / 3))
    low, high = found["auroc_interval"]
    assert 0 <= low < found["auroc"] < high <= 1


def test_rows_without_a_label_do_not_count() -> None:
    scores = np.array([9.0, 5.0, 1.0])
    labels = pa.chunked_array([[None, True, False]])
    found = detection(scores, labels, 1, confidence=0.9, resamples=50)
    assert (found["rows"], found["auroc"], found["precision"]) == (2, 1.0, 1.0)
    one_class = detection(
        scores[:2], labels.slice(0, 2), 0.5, confidence=0.9, resamples=50
    )
    assert one_class["auroc"] is None and one_class["precision"] is None
