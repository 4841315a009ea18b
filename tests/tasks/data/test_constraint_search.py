from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ar_models.tables.derived_column import DerivedColumn
from tasks.config.data import DataConfig
from tasks.data.constraint_search import draw_sample, find_constraints
from tasks.data.division import PreparePlan
from tasks.data.prepared import read_encoder, read_profile
from tasks.data.training_data import open_training_data
from tests.support.planted import fare_columns
from tests.support.preparing import read_split, run_prepare, write_files


def planned(path: Path, **data: Any) -> tuple[PreparePlan, Any]:
    """Return the plan and the dataset of some files."""
    config = DataConfig(path=str(path), **data)
    dataset = open_training_data(config)
    return PreparePlan.of(dataset, config), dataset


def test_the_sample_holds_training_rows_of_all_files(tmp_path: Path) -> None:
    table = pa.table({"a": range(3000), "b": ["x", "y", "z"] * 1000})
    plan, dataset = planned(write_files(tmp_path / "raw", table, 3))
    sample = draw_sample(plan, dataset.fragments, ["a", "b"])
    assert sample is not None
    known = sample["a"].to_pylist()
    assert 1800 < len(known) < 2400
    assert {value // 1000 for value in known[:50]} == {0, 1, 2}
    assert draw_sample(plan, dataset.fragments, ["a", "b"]) == sample


def test_a_prepared_dataset_tells_its_constraints_and_their_exceptions(
    tmp_path: Path,
) -> None:
    source = write_files(tmp_path / "raw", pa.table(fare_columns(3000, 9)), 2)
    result = run_prepare(source, tmp_path / "out")
    encoder = read_encoder(str(tmp_path / "out"))
    derived = [c for c in encoder.columns if isinstance(c, DerivedColumn)]
    assert [column.name for column in derived] == ["total"]
    (entry,) = read_profile(str(tmp_path / "out"))["constraints"]
    train = read_split(tmp_path / "out", "train")
    wrong = derived[0].exceptions
    assert 0 < wrong <= 9
    assert (entry["column"], entry["rows"]) == ("total", train.num_rows)
    assert entry["exceptions"] == wrong
    (text,) = result.constraints
    assert text.startswith("total = ")
    assert text.endswith(f"({wrong} exceptions of {train.num_rows:,} rows)")


@pytest.mark.parametrize(
    ("constraints", "derived"),
    [
        ("none", []),
        ({"ignore": ["total"]}, ["fare", "tip"]),
        ([{"column": "kind", "function_of": "extra"}], ["kind"]),
    ],
)
def test_the_configuration_decides_what_is_looked_for(
    tmp_path: Path, constraints: Any, derived: list[str]
) -> None:
    source = write_files(tmp_path / "raw", pa.table(fare_columns()), 1)
    plan, dataset = planned(source, constraints=constraints)
    found = find_constraints(plan, dataset.fragments, dataset.schema)
    assert set(found) <= set(derived)
    assert bool(found) == bool(derived)


def test_constraints_name_columns_of_the_dataset(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", pa.table(fare_columns()), 1)
    with pytest.raises(ValueError, match="no column 'fares'; did you mean 'fare'"):
        planned(source, constraints=[{"column": "total", "equals": "fares"}])
