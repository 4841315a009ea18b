"""Tests of replaying the history of a dataset."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.deploy import replay
from flows.process import runs
from tasks.config.root import Config
from tests.support.schedules import REFUSED
from tests.support.tables import small_table


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for day in (1, 2):
        folder = tmp_path / "data" / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(small_table(20, seed=day), folder / "part.parquet")
    return Config.model_validate(
        {
            "name": "small",
            "data": {"path": str(tmp_path / "data")},
            "resources": {"storage": str(tmp_path / "storage")},
            "replay": {"rows_per_file": 5, "window": 1},
        }
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace all flows by a refused retraining, and list the calls of them."""
    called = []

    def run_flow(name: str, config: Config, **parameters: Any) -> Any:
        called.append(name)
        return REFUSED

    def compare_nll(models: dict[str, Any], *_: str) -> dict[str, Any]:
        nll = {"nll": 1.5, "low": 1.0, "high": 2.0}
        return {"rows": 3, **dict.fromkeys(models, nll)}

    monkeypatch.setattr(runs, "run_flow", run_flow)
    monkeypatch.setattr(replay, "has_champion", lambda config: False)
    monkeypatch.setattr(replay.replay, "compare_nll", compare_nll)
    return called


def test_each_partition_is_replayed_once(config: Config, calls: list[str]) -> None:
    heard: list[Any] = []
    outcome = replay.run(config, heard.append)
    assert calls == ["retrain", "retrain"]
    assert heard == list(outcome.partitions)
    assert [p["partition"] for p in heard] == ["day=1", "day=2"]
    assert not any(p["promoted"] for p in heard)
    assert Path(outcome.chart).exists()
    root = Path(config.resources.storage) / "small-replay"
    (kept,) = (root / "data").rglob("*.parquet")  # The window has one partition.
    assert kept.parent.name == "day=2" and pq.read_metadata(kept).num_rows == 5
    assert replay.run(config, heard.append) == outcome
    assert len(calls) == 2


def test_a_replay_with_other_settings_is_refused(
    config: Config, calls: list[str]
) -> None:
    replay.run(config, lambda _: None)
    train = config.train.model_copy(update={"seed": 7})
    with pytest.raises(ValueError, match="holds a replay of other partitions or"):
        replay.run(config.model_copy(update={"train": train}), lambda _: None)


def test_the_replayed_model_has_a_name_and_data_of_its_own(config: Config) -> None:
    replayed = replay.replayed_config(config, "/copies")
    assert replayed.name == "small-replay"
    assert replayed.data.path == replayed.score.input == "/copies"
