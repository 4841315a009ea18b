from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.prepared import read_encoder
from tasks.runtime import storage
from tests.support.preparing import example_table, read_split, run_prepare, write_files
from tests.support.sketching import sketched


def test_the_encoder_sees_training_rows_only(tmp_path: Path) -> None:
    run_prepare(write_files(tmp_path / "raw", example_table(400), 3), tmp_path / "out")
    encoder = read_encoder(str(tmp_path / "out"))
    train = read_split(tmp_path / "out", "train")
    data = DataConfig(path="")
    for column in encoder.columns:
        part = sketched(train[column.name], 1 << 16)
        assert infer_column(column.name, train[column.name].type, part, data) == column


def test_the_profile_says_what_each_column_is_and_why(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(400), 2)
    run_prepare(source, tmp_path / "out", columns={"member": {"kind": "leave_out"}})
    known = storage.read_json(str(tmp_path / "out" / "profile.json"))
    columns = {entry["name"]: entry for entry in known["columns"]}
    assert columns["key"]["reason"] == "a unique id: all values differ"
    assert columns["unit"]["reason"] == "constant"
    assert columns["member"]["reason"] == "left out by the configuration"
    assert columns["amount"]["kind"] == "real"
    assert columns["age"]["missing"] > 0
    assert {word for word, _ in columns["city"]["top"]} == {"Oslo", "Rome", "Kyiv"}
    assert columns["day"]["quantiles"]["0"].startswith("2019-")
    encoder = read_encoder(str(tmp_path / "out"))
    decoded = encoder.decode(np.zeros((1, encoder.dim), np.float32))
    assert decoded.column_names == ["city", "age", "amount", "day", "unit"]


def test_hive_keys_that_are_dates_are_carried_and_not_modelled(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    for k in (1, 2, 3):
        path = source / f"store=A{k}" / f"date=2024-01-0{k}"
        write_files(path, example_table(80, seed=k), 1)
    ids = ("key", "store")
    result = run_prepare(source, tmp_path / "out", id=ids)
    assert result.columns["date"] == "left out"
    train = read_split(tmp_path / "out", "train")
    assert train.schema.field("date").type == pa.date32()
    encoder = read_encoder(str(tmp_path / "out"))
    assert encoder.carried == pa.schema([("store", pa.string())])
    assert {c.name: c.reason for c in encoder.left_out}["date"].startswith("a period")
    kinds = {"date": {"kind": "timestamp"}}
    chosen = run_prepare(source, tmp_path / "chosen", id=ids, columns=kinds)
    assert chosen.columns["date"] == "timestamp"
