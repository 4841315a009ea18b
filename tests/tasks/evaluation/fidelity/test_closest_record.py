"""Distances to the closest record."""

import pyarrow as pa
import pytest

from tasks.evaluation.fidelity import closest_record
from tasks.evaluation.fidelity.tables import Tables
from tests.support.dependent_columns import dependent_columns


def test_copies_of_train_rows_are_nearer_to_them() -> None:
    train, held_out = dependent_columns(800, 0), dependent_columns(800, 1)

    fresh = closest_record.compare_closest(
        Tables(train, held_out, dependent_columns(800, 2))
    )
    copied = closest_record.compare_closest(Tables(train, held_out, train))

    assert fresh["share"] == pytest.approx(0.5, abs=0.07)
    assert copied["share"] > 0.95
    assert copied["copies"] == 1
    assert fresh["copies"] < 0.2


def test_distances_are_sums_over_columns() -> None:
    reference = pa.table({"n": [0.0, 1.0, 2.0, 3.0], "w": ["a", "b", "a", "b"]})
    points = closest_record.to_points(reference, [reference])[0]
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)

    # Ranks are 1/8, 3/8, 5/8 and 7/8; words that differ have the distance 1.
    assert squares[0, 1] == pytest.approx(1 / 16 + 1)
    assert squares[0, 2] == pytest.approx(1 / 4)
    found = closest_record.squared_distances(points[:1], points[1:])
    assert found[0] == pytest.approx(1 / 4)
