"""Partitions: their names, their order, and ranges of them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.inference.partitions import find_partitions, select_range, sort_key
from tests.support.tables import small_table


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Three days in hive directories, the second in two files."""
    for name in ("01-30/part-0", "01-31/part-0", "01-31/part-1", "02-01/part-0"):
        file = tmp_path / "data" / f"day=2026-{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(small_table(5), file)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (None, None, 3),
        ("2026-01-31", None, 2),
        (None, "2026-01-31", 2),
        ("2026-1-31", "2026-1-31", 1),
        ("2026-02", None, 1),
        (None, "2026-01", 2),
        ("2027", None, 0),
    ],
)
def test_a_range_takes_both_its_ends(
    days: Path, since: str | None, until: str | None, count: int
) -> None:
    names = find_partitions(str(days))
    assert list(names) == ["day=2026-01-30", "day=2026-01-31", "day=2026-02-01"]
    assert len(select_range(names, since, until)) == count


def test_keys_in_several_folders_and_dates_in_file_names_are_the_same() -> None:
    assert sort_key("year=2026/month=01/day=05") == sort_key("2026-01-05")
    chosen = select_range({"2026-1-5": ""}, "2026-01-05", "2026-01-05")
    assert list(chosen) == ["2026-1-5"]


def test_files_without_keys_are_partitions(tmp_path: Path) -> None:
    for day in (2, 10):
        pq.write_table(small_table(10), tmp_path / f"day{day}.parquet")
    names = find_partitions(str(tmp_path))
    assert list(names) == ["day2", "day10"]
    assert names["day2"] == f"{tmp_path}/day2.parquet"
