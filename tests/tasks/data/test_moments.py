from pathlib import Path

import pyarrow as pa
import pytest

from tasks.config.data import DataConfig
from tasks.data.datasets import open_dataset
from tasks.data.division import PreparePlan
from tasks.data.moments import sketch_moments
from tests.support.parquet import write_parquet

TABLE = pa.table({"day": pa.array([3, 1, None], pa.date32()), "word": ["a", "b", "c"]})


@pytest.mark.parametrize("column", ["day", "word"])
def test_the_time_column_of_a_fragment_is_sketched(tmp_path: Path, column: str) -> None:
    write_parquet(tmp_path / "a.parquet", TABLE)
    keys = {"path": "", "split": {"by": "time", "column": column}}
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    plan = PreparePlan.of(dataset, DataConfig.model_validate(keys))
    if column == "word":
        with pytest.raises(ValueError, match="'word' has type string, which is not"):
            sketch_moments(plan, dataset.fragments[0])
    else:
        sketch = sketch_moments(plan, dataset.fragments[0])
        assert not isinstance(sketch, str)
        assert (sketch.low, sketch.high, sketch.missing) == (1, 3, 1)
