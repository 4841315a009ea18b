"""Tests of synthetic cells out of support."""

import numpy as np

from ar_models.tables.columns import OUT_OF_RANGE, UNSEEN
from tasks.evaluation.fidelity.support import compare_support
from tasks.evaluation.fidelity.tables import Tables
from tests.support.dependent_columns import dependent_columns


def test_cells_out_of_support_are_counted_by_reason() -> None:
    real = dependent_columns(4, 0)
    codes = np.array([[0, 0], [UNSEEN, 0], [UNSEEN, OUT_OF_RANGE], [0, 0]], np.int8)

    found = compare_support(Tables(real, real, real), ["kind", "code"], codes)

    assert found["wrong_rows"] == 0.5
    assert found["wrong_cells"] == {
        "kind": {"missing": 0, "unseen": 2, "outside": 0, "violation": 0},
        "code": {"missing": 0, "unseen": 0, "outside": 1, "violation": 0},
    }
    assert found["other_types"] == {}
