from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tasks.training import train
from tasks.training.checkpoint import EpochMetrics
from tasks.training.trial import Record, Trial, read_record, train_trial
from tasks.training.worker import TrainingRun
from tests.support.local_jobs import local_jobs
from tests.support.tables import small_table
from tests.support.training import MODEL, TRAINING

TIMES = ("seconds", "rows_per_s")
"""Metrics of an epoch that no two runs share."""


class KilledError(Exception):
    """Ends a trial at the moment of its report, as the kill of its process would."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Return a short training run with a checkpoint after every epoch."""
    folder = tmp_path_factory.mktemp("trial")
    pq.write_table(small_table(), folder / "table.parquet")
    data = DataConfig(path=str(folder / "table.parquet"), id=("id",))
    with local_jobs():
        made = prepare.prepare(data, str(folder / "prepared"), Resources())
    content = train.read_prepared_manifest(made.path)
    model = train.resolve_model(MODEL.model_dump(mode="json"), made.path, None)
    key, nats = "trial", content["log_abs_det"]
    return TrainingRun(key, made.path, model, TRAINING, nats, checkpoint_seconds=0.0)


def train_whole(trial: Trial) -> list[EpochMetrics]:
    """Train a trial to its end; return the metrics that it reports."""
    reported: list[EpochMetrics] = []
    train_trial(trial, reported.append)
    return reported


def without_times(history: list[EpochMetrics]) -> list[EpochMetrics]:
    return [{k: v for k, v in each.items() if k not in TIMES} for each in history]


def test_a_trial_that_was_killed_ends_as_an_undisturbed_one(
    run: TrainingRun, tmp_path: Path
) -> None:
    whole = train_whole(Trial(run, str(tmp_path / "whole")))
    trial = Trial(run, str(tmp_path / "killed"))

    def kill(metrics: EpochMetrics) -> None:
        if metrics["epoch"] == 3:
            raise KilledError

    with pytest.raises(KilledError):
        train_trial(trial, kill)
    assert read_record(trial.folder).checkpoint == "checkpoint-3"
    assert without_times(train_whole(trial)) == without_times(whole)


def test_a_trial_without_checkpoint_reports_each_epoch_once(
    run: TrainingRun, tmp_path: Path
) -> None:
    trial = Trial(replace(run, checkpoint_seconds=1e9), str(tmp_path))

    def kill(metrics: EpochMetrics) -> None:
        if metrics["epoch"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train_trial(trial, kill)
    epochs = [metrics["epoch"] for metrics in train_whole(trial)]
    assert epochs == list(range(1, len(epochs) + 1))


def test_a_finished_trial_is_not_repeated(run: TrainingRun, tmp_path: Path) -> None:
    trial = Trial(run, str(tmp_path))
    first = train_whole(trial)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert train_whole(replace(trial, run=replace(run, prepared="gone"))) == first


def test_a_trial_that_diverges_says_so(run: TrainingRun, tmp_path: Path) -> None:
    diverging = run.training.model_copy(
        update={"learning_rate": 1e30, "max_grad_norm": 1e30}
    )
    trial = Trial(replace(run, training=diverging), str(tmp_path))
    train_trial(trial, lambda metrics: None)
    failed = read_record(trial.folder).failed
    assert failed is not None
    assert "lower train.learning_rate" in failed


def test_an_unknown_trial_has_an_empty_record(tmp_path: Path) -> None:
    assert read_record(str(tmp_path / "none")) == Record()
    assert Record().valid_nll is None
