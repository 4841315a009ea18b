"""Tests of counting batches in a row that drifted."""

from pathlib import Path

from tasks.monitoring import drift_streak


def test_batches_in_a_row_are_counted_once_each(tmp_path: Path) -> None:
    batches = [("a", True), ("b", True), ("b", True), ("c", False), ("d", True)]
    counts = [
        drift_streak.record(str(tmp_path), key, drifted=drifted)
        for key, drifted in batches
    ]
    assert counts == [(1, True), (2, True), (2, False), (0, False), (1, True)]
