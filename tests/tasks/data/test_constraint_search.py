from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.tables.derived_column import DerivedColumn
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data.constraint_search import draw_sample, with_constraints
from tasks.data.division import PreparePlan
from tasks.data.prepare import prepare
from tasks.data.prepared import read_encoder, read_profile
from tasks.data.training_data import open_training_data
from tests.support.inequalities import ordered_density, ordered_table
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
    entry, inequality = read_profile(str(tmp_path / "out"))["constraints"]
    assert inequality["kind"] == "inequality"
    train = read_split(tmp_path / "out", "train")
    wrong = derived[0].exceptions
    assert 0 < wrong <= 9
    assert (entry["column"], entry["rows"]) == ("total", train.num_rows)
    assert entry["exceptions"] == wrong
    text, ordered = result.constraints
    assert ordered.startswith("tip <= fare, ")
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
    found = with_constraints(plan, dataset.fragments, dataset.schema).constraints
    assert set(found) <= set(derived)
    assert bool(found) == bool(derived)


def test_constraints_name_columns_of_the_dataset(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", pa.table(fare_columns()), 1)
    with pytest.raises(ValueError, match="no column 'fares'; did you mean 'fare'"):
        planned(source, constraints=[{"column": "total", "equals": "fares"}])


def test_inequalities_are_counted_in_all_rows(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", ordered_table(3000, wrong=1), 3)
    result = run_prepare(source, tmp_path / "out")
    encoder = read_encoder(str(tmp_path / "out"))
    (inequality,) = encoder.inequalities
    train = read_split(tmp_path / "out", "train")
    assert inequality.rows == train.num_rows
    count = int(pc.sum(pc.greater(train["low"], train["high"])).as_py())
    assert inequality.violations == count <= 1
    (entry,) = read_profile(str(tmp_path / "out"))["constraints"]
    assert (entry["relation"], entry["exceptions"]) == ("<=", inequality.violations)
    (text,) = result.constraints
    assert text.startswith("low <= high, ")


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ("none", []),
        ({"ignore": ["low <= high"]}, []),
        ([{"column": "high", "above": -1}], ["high > -1"]),
        ({"add": [{"column": "high", "at_least": "low"}]}, ["high >= low"]),
    ],
)
def test_the_configuration_decides_about_inequalities(
    tmp_path: Path, constraints: Any, expected: list[str]
) -> None:
    source = write_files(tmp_path / "raw", ordered_table(3000, wrong=1), 1)
    plan, dataset = planned(source, constraints=constraints)
    found = with_constraints(plan, dataset.fragments, dataset.schema).inequalities
    assert [each.describe() for each in found] == expected


def test_another_datasets_encoder_brings_its_inequalities(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", ordered_table(3000, wrong=1), 1)
    encoder = ordered_density("made").encoder
    data = DataConfig(path=str(source))
    prepare(data, str(tmp_path / "out"), Resources(), encoder=encoder)
    (inequality,) = read_encoder(str(tmp_path / "out")).inequalities
    assert inequality == encoder.inequalities[0].without_weight()
    (entry,) = read_profile(str(tmp_path / "out"))["constraints"]
    assert entry["exceptions"] <= 1
