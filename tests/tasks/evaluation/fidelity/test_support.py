"""Functional dependences of training rows."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.fidelity import support
from tasks.evaluation.fidelity.tables import Tables
from tests.support.dependent_columns import dependent_columns


def test_violated_dependences_are_found() -> None:
    train, held_out = dependent_columns(900, 0), dependent_columns(900, 1)
    kinds = np.array(dependent_columns(1000, 2)["kind"].to_pylist(), object)
    kinds[:100] = np.where(kinds[:100] == "a", "b", "a")
    synthetic = dependent_columns(1000, 2, kind=pa.array(kinds))

    found = support.find_dependences(Tables(train, held_out, synthetic))

    pairs = {(d["column"], d["determines"]): d for d in found}
    assert set(pairs) == {("kind", "code"), ("code", "kind")}
    for each in pairs.values():
        assert each["held_out"] == 0
        assert each["synthetic"] == pytest.approx(0.1)
