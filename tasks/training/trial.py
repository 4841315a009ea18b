"""One trial of tuning: a short training run in a Ray Tune actor.

A trial keeps its metrics and checkpoints in a directory of its own. A trial that is
started again reports the metrics of its earlier epochs first, so that the scheduler
decides as before, and goes on from its checkpoint. Unlike Ray's own records these
contain no pickles.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from ray import tune

from tasks.data import batches
from tasks.data.batches import Batches, Order
from tasks.runtime import receipts, storage
from tasks.training.checkpoint import EpochMetrics, is_whole
from tasks.training.trainer import Trainer
from tasks.training.worker import TrainingRun, initial_model, open_rows, run_epochs

RECORD = "record.json"
"""File of a trial with its metrics."""

Report = Callable[[EpochMetrics], None]


@dataclass(frozen=True)
class Record:
    """The settings and the state of a trial.

    Attributes:
        history: Metrics of each epoch.
        stopped: Why training ended by itself, or None.
        failed: Why training failed, or None.
        checkpoint: Name of the directory of the last checkpoint, or None.
    """

    history: list[EpochMetrics] = field(default_factory=list)
    stopped: str | None = None
    failed: str | None = None
    checkpoint: str | None = None

    @property
    def valid_nll(self) -> float | None:
        """Lowest validation NLL, in nats per row; None before the first epoch."""
        return min((each["valid_nll"] for each in self.history), default=None)

    @property
    def seconds(self) -> float:
        """Training time."""
        return sum(each["seconds"] for each in self.history)


def read_record(folder: str) -> Record:
    """Return the record of a trial, empty if it is damaged or there is none."""
    content = receipts.read(storage.join(folder, RECORD)) or {"bound": {}}
    return Record(**{name: content[name] for name in content if name != "bound"})


def write_record(folder: str, record: Record) -> None:
    """Write the record of a trial."""
    receipts.write(storage.join(folder, RECORD), {}, asdict(record))


@dataclass(frozen=True)
class Trial:
    """A set of settings, and where its trial keeps its state.

    Attributes:
        run: What is trained.
        folder: Directory of the trial, which every node can reach.
    """

    run: TrainingRun
    folder: str


def run_trial(
    config: dict[str, Any],  # number
    trials: Sequence[Trial],
    threads: int,
) -> None:
    """Train the settings of one trial; the function that Ray Tune runs.

    Args:
        config: `number`, the number of the trial.
        trials: All trials.
        threads: Number of threads for matrix products.
    """
    trial = trials[config["number"]]
    torch.set_num_threads(threads)
    train_trial(trial, lambda metrics: tune.report(metrics))


def train_trial(trial: Trial, report: Report) -> None:
    """Train the settings of a trial from its last checkpoint until training ends.

    Args:
        trial: The trial.
        report: Called with the metrics of every epoch, also of earlier attempts.
    """
    record = read_record(trial.folder)
    for metrics in record.history:
        report(metrics)
    if record.stopped or record.failed:
        return
    run = trial.run
    rows, valid = open_rows(run, local_rank=0, world=1)
    order = Order.of(rows, batch_size=run.training.batch_size, seed=run.training.seed)
    trainer = Trainer(
        initial_model(run),
        run.training,
        steps=run.training.epochs * order.batches,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    folder = storage.join(trial.folder, record.checkpoint or "")
    if record.checkpoint is not None and is_whole(folder):
        with tempfile.TemporaryDirectory() as copy:
            trainer.load(storage.fetch(folder, Path(copy)))
    data = Batches(rows, order, rank=0, world=1, device=trainer.device)
    callback = TrialCallback(trainer, trial, record, report)
    try:
        run_epochs(trainer, data, valid, callback, run.log_abs_det)
    except FloatingPointError as error:
        failed = replace(callback.record, failed=str(error), checkpoint=None)
        write_record(trial.folder, failed)
    shutil.rmtree(batches.cache_folder(run.key), ignore_errors=True)


class TrialCallback:
    """Records and reports the metrics of every epoch of a trial, with checkpoints.

    Attributes:
        record: What is recorded.
        abandoned: Always false: Ray Tune ends the process of a trial.
        out_of_time: Likewise.
    """

    def __init__(
        self, trainer: Trainer, trial: Trial, record: Record, report: Report
    ) -> None:
        self.trainer, self.trial = trainer, trial
        self.record, self.report = record, report
        self.abandoned = self.out_of_time = False
        self._saved = time.perf_counter()

    def __call__(self) -> bool:
        """Return that the epoch goes on after a step."""
        return False

    def send_history(self) -> None:
        """Do nothing: the metrics of earlier epochs are reported already."""

    def end_epoch(self) -> None:
        """Record and report the epoch that ended, with a checkpoint if one is due."""
        state = self.trainer.state
        reported, previous = len(self.record.history), self.record.checkpoint
        history = state.history if state.epoch > reported else self.record.history
        self.record = replace(self.record, history=list(history), stopped=state.stopped)
        waited = time.perf_counter() - self._saved
        if state.stopped is not None:
            self.record = replace(self.record, checkpoint=None)
        elif waited >= self.trial.run.checkpoint_seconds:
            self.record = replace(self.record, checkpoint=self._save())
        write_record(self.trial.folder, self.record)
        if previous is not None and previous != self.record.checkpoint:
            storage.delete(storage.join(self.trial.folder, previous))
        if state.epoch > reported:
            self.report(state.history[-1])

    def _save(self) -> str:
        """Write a checkpoint, and return the name of its directory."""
        name = f"checkpoint-{self.trainer.state.epoch}"
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.save(Path(folder))
            for path in sorted(Path(folder).iterdir()):
                target = storage.join(self.trial.folder, name, path.name)
                with storage.publish(target) as unfinished:
                    shutil.copyfile(path, unfinished)
        self._saved = time.perf_counter()
        return name
