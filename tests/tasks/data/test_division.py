from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.config.data import DataConfig
from tasks.data.datasets import open_dataset
from tasks.data.division import PreparePlan, divide_fragment
from tasks.data.splits import SPLITS
from tests.support.parquet import write_parquet


def test_rows_with_faults_belong_to_no_split(tmp_path: Path) -> None:
    text = pa.array([b"a", b"\xff", b"b", b"c"], pa.binary()).view(pa.string())
    table = pa.table({"k": range(4), "text": text, "day": [1, 2, None, 4]})
    write_parquet(tmp_path / "a.parquet", table)
    keys = {"path": "", "id": ["k"], "split": {"by": "time", "column": "day"}}
    data = DataConfig.model_validate(keys)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    plan = PreparePlan.of(dataset, data)
    assert (plan.carried, plan.modelled) == (("k", "text", "day"), ("text", "day"))
    plan = PreparePlan(**{**vars(plan), "boundaries": (1, 2, 3)})
    divided = divide_fragment(plan, dataset.fragments[0])
    np.testing.assert_array_equal(divided.codes, [0, -1, -1, SPLITS.index("test")])
    faults = [(fault.row, fault.column) for fault in divided.faults]
    assert faults == [(1, "text"), (2, "day")]
    assert len(divided.cells["day"].values) == 3
