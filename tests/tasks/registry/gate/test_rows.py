from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.registry.gate import gate
from tasks.registry.gate import rows as gate_rows
from tasks.runtime import storage
from tests.support.model_pair import ModelPair

SETTINGS = GateConfig(load_check="none")


def test_rows_that_the_champion_learned_from_do_not_count(
    pair: ModelPair, strong: TableDensity
) -> None:
    about = storage.read_json(f"{pair.prepared}/_manifest.json")
    profiled = storage.read_json(f"{pair.prepared}/profile.json")
    rule = {"config": about["config"], "boundaries": profiled["boundaries"]}
    strong = replace(strong, info={**strong.info, "split_rule": rule})
    for split, learned in (("train", 1), ("valid", 1), ("calibration", 0), ("test", 0)):
        seen = gate_rows.trained_on(strong, pq.read_table(f"{pair.prepared}/{split}"))
        assert seen is not None
        assert seen.mean() == learned


def test_another_champions_split_leaves_what_it_held_out(
    pair: ModelPair, strong: TableDensity
) -> None:
    about = storage.read_json(f"{pair.prepared}/_manifest.json")
    other = {**about["config"], "split": {**about["config"]["split"], "seed": 1}}
    rule = {"config": other, "boundaries": []}
    champion = replace(strong, info={**strong.info, "split_rule": rule})
    table, remark = gate_rows.select_rows(champion, pair.prepared, about, SETTINGS)
    share = table.num_rows / about["rows"]["test"]
    assert 0.3 < share < 0.5  # It held out 0.4.
    assert "none of which either model was trained on" in remark


def test_the_newest_rows_are_taken(pair: ModelPair, strong: TableDensity) -> None:
    about = storage.read_json(f"{pair.prepared}/_manifest.json")
    whole = pq.read_table(f"{pair.prepared}/test")
    config = GateConfig(rows=50, order_by="time")
    table, _ = gate_rows.select_rows(strong, pair.prepared, about, config)
    assert table.num_rows == 50
    times = np.sort(whole["time"].to_numpy())
    assert np.array_equal(np.sort(table["time"].to_numpy()), times[-50:])
    table, remark = gate_rows.select_rows(
        strong, pair.prepared, about, GateConfig(rows=50)
    )
    assert table["id"].to_pylist() == whole["id"].to_pylist()[-50:]
    assert "in file order" in remark


def test_an_unknown_segment_is_named(pair: ModelPair, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gate.segments: no column .where."):
        gate.gate(
            pair.models["weak"],
            None,
            pair.prepared,
            str(tmp_path / "gate"),
            GateConfig(segments=("where",)),
        )
