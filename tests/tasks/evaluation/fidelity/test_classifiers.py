"""Tests of two-sample tests and downstream predictions."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.evaluation.fidelity import classifiers
from tasks.evaluation.fidelity.tables import Tables
from tests.support.dependent_columns import dependent_columns


def test_rows_of_one_source_cannot_be_distinguished() -> None:
    # The AUC of 2,000 against 2,000 rows has a standard error of about 0.009.
    test = classifiers.TwoSampleTest.fit(
        dependent_columns(2000, 0), dependent_columns(2500, 1)
    )
    assert 0.45 < test.auc < 0.55
    assert all(column.importance < 0.05 for column in test.importances())


def test_the_columns_that_distinguish_rows_are_named() -> None:
    real, other = dependent_columns(2000, 0), dependent_columns(2000, 1)
    size = pc.multiply(other["size"], 1.7)
    test = classifiers.TwoSampleTest.fit(real, other.set_column(2, "size", size))
    first, *others = test.importances()
    assert test.auc > 0.6
    assert first.column == "size"
    assert 0.05 < first.importance < test.auc
    assert all(column.importance < first.importance / 3 for column in others)


def test_the_target_is_learned_from_synthetic_rows() -> None:
    tables = Tables(
        dependent_columns(1500, 0),
        dependent_columns(1500, 1),
        dependent_columns(1500, 2),
    )
    rng = np.random.default_rng(3)
    noise = pa.array(rng.random(1500) < 0.5)
    useless = Tables(
        tables.train, tables.held_out, dependent_columns(1500, 2, flag=noise)
    )

    for target, measure, floor in (("kind", "auc", 0.99), ("size", "r2", 0.2)):
        found = classifiers.compare_downstream(tables, target)
        assert found["measure"] == measure
        assert found["synthetic"] > floor
        assert found["synthetic"] == pytest.approx(found["train"], abs=0.1)
    assert classifiers.compare_downstream(tables, "flag")["synthetic"] > 0.6
    assert classifiers.compare_downstream(useless, "flag")["synthetic"] < 0.6
    single = Tables(
        tables.train, tables.held_out, dependent_columns(99, 2, kind=["a"] * 99)
    )
    assert classifiers.compare_downstream(single, "kind")["synthetic"] == 0.5
