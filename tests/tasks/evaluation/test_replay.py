from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.evaluation import replay
from tests.support.parquet import write_months


def test_a_partition_is_copied_thinned_and_removed(tmp_path: Path) -> None:
    source = str(write_months(tmp_path / "source", [1, 2]))
    growing = str(tmp_path / "growing")
    assert replay.add_partition(source, "month=1", growing, None) == 2
    assert replay.add_partition(source, "month=2", growing, 1) == 1
    kept = Path(growing, "month=2", "part-0.parquet")
    assert pq.ParquetFile(kept).read()["a"].to_pylist() == [20]
    replay.remove_partition(growing, "month=1")
    assert [path.name for path in Path(growing).iterdir()] == ["month=2"]


def test_each_model_has_a_line_from_its_first_month_on() -> None:
    known = {"nll": 1.0, "low": 0.9, "high": 1.1}
    month: dict[str, Any] = {"promoted": True, "drift": None, "never retrained": known}
    months = [
        {**month, "partition": "1", "champion": None, "challenger": known},
        {**month, "partition": "2", "champion": known, "challenger": known},
    ]
    (axes,) = replay.draw_nll(months).axes
    points = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert points == {"never retrained": 2, "champion": 1, "challenger": 2}
