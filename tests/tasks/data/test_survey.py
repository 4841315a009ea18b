import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config.data import DataConfig
from tasks.data.division import PreparePlan
from tasks.data.sketches import NumberSketch
from tasks.data.survey import Survey, merge_surveys, survey_fragment
from tasks.data.training_data import open_training_data
from tests.support.preparing import example_table, run_prepare, write_files


def test_two_hundred_rows_are_enough_and_ten_are_not(tmp_path: Path) -> None:
    run_prepare(write_files(tmp_path / "enough", example_table(200), 1), tmp_path / "a")
    few = write_files(tmp_path / "few", example_table(5), 1)
    message = "with 5 rows no row is in the splits .*; .* about 50 rows are needed"
    with pytest.raises(ValueError, match=message):
        run_prepare(few, tmp_path / "b")
    with pytest.raises(ValueError, match="every split needs a share above 0"):
        run_prepare(tmp_path / "enough", tmp_path / "c", split={"valid": 0})


def test_surveys_of_many_small_files_are_merged_exactly(tmp_path: Path) -> None:
    rows = pa.table({"id": range(900), "kind": [i % 7 for i in range(900)]})
    for i in range(0, 900, 60):
        pq.write_table(rows.slice(i, 60), tmp_path / f"part-{i:03}.parquet")
    data = DataConfig(path=str(tmp_path), id=("id",))
    dataset = open_training_data(data)
    plan = PreparePlan.of(dataset, data)
    surveys = [survey_fragment(plan, fragment) for fragment in dataset.fragments]
    singly = Survey()
    for survey in copy.deepcopy(surveys):
        assert isinstance(survey, Survey)
        singly.add(survey, plan)
    merged, bad = merge_surveys(dataset.fragments, surveys, plan)
    assert not bad and len(surveys) == 15
    np.testing.assert_array_equal(merged.counts, singly.counts)
    assert merged.counts.sum() == 900
    own, other = merged.sketches["kind"], singly.sketches["kind"]
    assert isinstance(own, NumberSketch) and isinstance(other, NumberSketch)
    assert own.frequent_values(0.0, 10) == other.frequent_values(0.0, 10)
    assert own.rows == other.rows and own.low == 0 and own.high == 6
    assert not merged.constancies["kind"].is_constant
