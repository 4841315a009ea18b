"""Tests of the training loop, run in this process."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tests.support.training import MODEL, TRAINING, Messages, train_config, train_here


def train(prepared: str, **changes: Any) -> tuple[dict[str, Any], Messages]:
    messages = Messages()
    training = TRAINING.model_copy(update=changes)
    return train_here(prepared, MODEL, training, messages), messages


def test_training_ends_when_its_time_is_up(prepared: str) -> None:
    returned, messages = train(prepared, epochs=10_000, max_seconds=0.5)
    assert returned == {"stopped": "time"}
    assert sum(record["seconds"] for record in messages.records()) < 10


def test_training_ends_when_patience_does(prepared: str) -> None:
    returned, messages = train(
        prepared, epochs=500, patience=2, learning_rate=0.05, ema_decay=0.0
    )
    records = messages.records()
    best = min(records, key=lambda record: record["valid_nll"])
    assert returned == {"stopped": "patience"}
    assert records[-1]["epoch"] == best["epoch"] + 2
    kind, (done, planned) = messages[-1]
    assert kind == "steps" and done == planned


def test_a_diverging_run_fails_with_a_remedy(prepared: str) -> None:
    returned, messages = train(prepared, learning_rate=1e30, epochs=100)
    assert "lower train.learning_rate (now 1e+30)" in returned["failed"]
    assert "warning" in {kind for kind, _ in messages}


def test_few_rows_and_large_batches_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = pa.table({"a": rng.integers(0, 3, 200), "b": rng.normal(size=200)})
    pq.write_table(table, tmp_path / "few.parquet")
    data = DataConfig(path=str(tmp_path / "few.parquet"))
    few = prepare.prepare(data, str(tmp_path / "prepared"), Resources()).path
    messages = Messages()
    returned = train_here(few, MODEL, train_config(epochs=3), messages)
    assert returned == {"stopped": "epochs"}
    assert all(math.isfinite(record["valid_nll"]) for record in messages.records())
