from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks.data import splits
from tasks.data.splits import SPLITS
from tests.support.preparing import example_table, read_split, run_prepare, write_files


def test_rows_keep_their_split_when_the_data_grows(tmp_path: Path) -> None:
    table = example_table(400)
    run_prepare(write_files(tmp_path / "some", table, 1), tmp_path / "a")
    more = pa.concat_tables([example_table(200, seed=1), table])
    run_prepare(write_files(tmp_path / "more", more, 2), tmp_path / "b")
    for split in SPLITS:
        before = set(read_split(tmp_path / "a", split).column("key").to_pylist())
        after = set(read_split(tmp_path / "b", split).column("key").to_pylist())
        assert before and before == {k for k in after if k.startswith("0-")}


def test_equal_rows_stand_in_one_split(tmp_path: Path) -> None:
    table = example_table(150).drop_columns(["key"])
    twice = pa.concat_tables([table, table])
    run_prepare(write_files(tmp_path / "raw", twice, 3), tmp_path / "out")
    rows = {
        s: Counter(map(str, read_split(tmp_path / "out", s).to_pylist()))
        for s in SPLITS
    }
    for split, counts in rows.items():
        assert all(count % 2 == 0 for count in counts.values()), split
    assert sum(len(counts) for counts in rows.values()) == len(
        set().union(*rows.values())
    )


def test_the_seed_chooses_other_splits(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 1)
    run_prepare(source, tmp_path / "a")
    run_prepare(source, tmp_path / "b", split={"seed": 1})
    one, other = (read_split(tmp_path / f, "test").column("key") for f in "ab")
    assert one.to_pylist() != other.to_pylist()


def test_a_split_by_time_puts_the_newest_into_test(tmp_path: Path) -> None:
    table = example_table(400)
    source = write_files(tmp_path / "raw", table, 3)
    split = {"by": "time", "column": "day", "test": 0.2}
    result = run_prepare(source, tmp_path / "out", split=split)
    days = {
        s: read_split(tmp_path / "out", s).column("day").to_pylist() for s in SPLITS
    }
    order = ["train", "valid", "calibration", "test"]
    for older, newer in zip(order, order[1:], strict=False):
        assert max(days[older]) < min(days[newer])
    assert 80 <= result.rows["test"] < 90
    assert 40 <= result.rows["calibration"] < 50


def test_equal_rows_are_told_apart_by_an_id_alone(tmp_path: Path) -> None:
    cities = ["Oslo", "Rome", "Kyiv", "Lima"] * 300
    table = pa.table({"key": range(1200), "city": cities, "twin": cities})
    source = write_files(tmp_path / "raw", table, 2)

    def splits_of_oslo(output: str, **settings: Any) -> dict[str, int]:
        run_prepare(source, tmp_path / output, **settings)
        found = {}
        for split in splits.SPLITS:
            rows = read_split(tmp_path / output, split)
            found[split] = rows.column("city").to_pylist().count("Oslo")
        return found

    wide = {"valid": 0.2, "calibration": 0.2, "test": 0.2}
    apart = splits_of_oslo("apart", id=["key"], split=wide)
    assert apart["train"] == pytest.approx(120, abs=30)
    for split in ("valid", "calibration", "test"):
        assert apart[split] == pytest.approx(60, abs=25)
    together = splits_of_oslo("together", exclude=["key"], split={**wide, "seed": 3})
    assert sorted(together.values()) == [0, 0, 0, 300]
