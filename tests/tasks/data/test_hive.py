from pathlib import Path

import pyarrow as pa
import pytest

from tasks.data import hive
from tasks.data.datasets import open_dataset
from tasks.data.fragments import read_fragment
from tests.support.parquet import read_rows, write_months, write_parquet


def test_hive_values_are_decoded(tmp_path: Path) -> None:
    one = pa.table({"a": [1]})
    write_parquet(tmp_path / "place=S%C3%A3o%20Paulo" / "x.parquet", one)
    write_parquet(tmp_path / "place=__HIVE_DEFAULT_PARTITION__" / "x.parquet", one)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    for dictionaries in (False, True):
        tables = [
            read_fragment(f, dictionaries=dictionaries) for f in dataset.fragments
        ]
        found = {value for t in tables for value in t.column("place").to_pylist()}
        assert found == {"São Paulo", None}


def test_folders_of_different_depth_are_refused(tmp_path: Path) -> None:
    write_months(tmp_path, [1])
    write_parquet(tmp_path / "part-0.parquet", pa.table({"a": [1]}))
    with pytest.raises(ValueError, match="use the same keys for all files"):
        open_dataset(str(tmp_path), rows_per_fragment=9)


@pytest.mark.parametrize(
    ("key", "values", "type"),
    [
        ("store", ["A1", "12"], pa.string()),
        ("store", ["12", "7"], pa.int64()),
        ("zip", ["01067", "99999"], pa.string()),
        ("month", ["01", "12"], pa.int64()),
        ("day", ["2024-01-31", "2024-02-01"], pa.date32()),
        ("day", ["2024-02-30"], pa.string()),
        ("day", [], pa.string()),
    ],
)
def test_a_key_has_one_type_for_all_its_values(
    key: str, values: list[str], type: pa.DataType
) -> None:
    assert hive.infer_type(key, values) == type


def test_a_key_has_the_type_that_it_had_in_training(tmp_path: Path) -> None:
    for store in ("12", hive.NULL):
        write_parquet(tmp_path / f"store={store}" / "x.parquet", pa.table({"a": [1]}))
    trained = pa.schema([("store", pa.string())])
    for path in (tmp_path, tmp_path / "store=12"):
        dataset = open_dataset(str(path), rows_per_fragment=9, trained=trained)
        found = read_rows(dataset).column("store")
        assert found.type == pa.string()
        assert "12" in found.to_pylist()
    write_parquet(tmp_path / "store=A1" / "x.parquet", pa.table({"a": [1]}))
    trained = pa.schema([("store", pa.int64())])
    message = "store=A1 is not of type int64, which the column 'store' had in training"
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path), rows_per_fragment=9, trained=trained)


@pytest.mark.parametrize(
    ("key", "values", "is_period"),
    [
        ("day", ["2024-01-31", hive.NULL], True),
        ("dt", ["20240131"], True),
        ("period", ["2024-01", "2024-02"], True),
        ("week", ["2024-W05"], True),
        ("at", ["2024-01-31T13:00:00Z"], True),
        ("hour", ["2024-01-31-13"], True),
        ("event_month", ["1", "2"], True),
        ("year", ["2024"], True),
        ("store", ["2024", "12"], False),
        ("day", ["Monday"], False),
        ("dt", [hive.NULL], False),
    ],
)
def test_keys_that_are_dates_or_parts_of_dates_are_periods(
    key: str, values: list[str], is_period: bool
) -> None:
    assert hive.is_period(key, values) is is_period
