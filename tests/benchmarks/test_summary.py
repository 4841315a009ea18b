"""Tests of the summary of the benchmarks of speed."""

from types import ModuleType

import pytest

from tests.support.scripts import import_script

SCORING = """
floor: 2.0 s

| scoring | seconds | rows/s | of the floor |
|---|---|---|---|
| floor | 2.0 | 1,000 | 1.00 |
| floor, bf16 | 1.0 | 2,000 | 0.50 |
| combined | 2.5 | 800 | 1.25 |
| combined, bf16 | 1.5 | 1,333 | 0.75 |
| PyOD's IForest | 0.5 | 4,000 | 0.25 |

2,000 rows
"""


@pytest.fixture(scope="module")
def summary() -> ModuleType:
    return import_script("summary")


def test_a_table_is_read_with_text_around_it(summary: ModuleType) -> None:
    lines = summary.parse_table(SCORING.splitlines())
    assert len(lines) == 5
    assert lines[1] == {
        "scoring": "floor, bf16",
        "seconds": "1.0",
        "rows/s": "2,000",
        "of the floor": "0.50",
    }
    assert summary.parse_table(["no table"]) == []


def test_jobs_are_compared_with_the_floor_of_their_precision(
    summary: ModuleType,
) -> None:
    lines = summary.parse_table(SCORING.splitlines())
    found = {r[:2]: r.ratio for r in summary.of_scoring(lines)}
    assert found == {
        ("scoring, combined", "floor"): "1.25",
        ("scoring, combined", "PyOD's IForest"): "5.00",
        ("scoring, combined, bf16", "floor, bf16"): "1.50",
        ("scoring, combined, bf16", "PyOD's IForest"): "3.00",
    }


def test_every_benchmark_has_a_script(summary: ModuleType) -> None:
    for name in summary.BENCHMARKS:
        assert (summary.HERE / f"{name}.py").is_file()


@pytest.mark.parametrize(
    ("cell", "value"), [("1,234", 1234), ("54.4%", 54.4), ("**1.24**", 1.24)]
)
def test_numbers_are_read(summary: ModuleType, cell: str, value: float) -> None:
    assert summary.number(cell) == value
