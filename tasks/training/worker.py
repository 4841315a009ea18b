"""The training loop of each Ray Train worker."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from ray import train as ray_train
from ray.train.torch import get_device
from safetensors.torch import load_file

from ar_models.density.saved_form import WEIGHTS_FILE
from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.variables import Variable
from tasks.config.train import ResolvedTrainConfig
from tasks.data import batches
from tasks.data.batches import Batches, Order, Rows
from tasks.data.prepared import read_encoder
from tasks.evaluation.baseline import with_frequencies
from tasks.runtime import storage
from tasks.training.orderings import sample_rows
from tasks.training.step_callback import MessageQueue, StepCallback
from tasks.training.trainer import Trainer, train_epoch

MAX_PIXELS = 2**24
"""Approximate number of pixels of training images that initial biases are fitted to."""


@dataclass(frozen=True)
class TrainingRun:
    """The configuration that the workers train a model by.

    Attributes:
        key: The job key.
        prepared: Folder of the prepared dataset, which every node can reach.
        model: Configuration of the network, complete.
        training: Configuration of training, without `auto`.
        log_abs_det: Mean log absolute determinant of the encoder's transforms on train
            and valid rows, in nats, by split.
        start: Folder of the model that training starts from, or None.
        row_steps: Steps by which the rows of some files are read, by file name: 4 reads
            every fourth row.
        checkpoint_seconds: Time between two checkpoints.
    """

    key: str
    prepared: str
    model: dict[str, Any]  # JSON values
    training: ResolvedTrainConfig
    log_abs_det: dict[str, float]
    start: str | None = None
    row_steps: dict[str, int] = field(default_factory=dict)
    checkpoint_seconds: float = 60.0


def train_loop_per_worker(
    config: dict[str, Any],  # see Args
) -> dict[str, str | None]:
    """Train from the last checkpoint until training ends.

    Args:
        config: `run` (a `TrainingRun`), `threads` (of this worker) and `messages` (a
            `MessageQueue`).

    Returns:
        `stopped`, the reason why training ended; or `failed`, a message, where a
        restart would not help.
    """
    run: TrainingRun = config["run"]
    messages: MessageQueue = config["messages"]
    # Ray gives every worker one OpenMP thread.
    torch.set_num_threads(config["threads"])
    context = ray_train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    rows, valid = open_rows(run, local_rank=context.get_local_rank(), world=world)
    order = Order.of(rows, batch_size=run.training.batch_size, seed=run.training.seed)
    trainer = Trainer(
        initial_model(run),
        run.training,
        steps=run.training.epochs * order.batches,
        device=get_device(),
        rank=rank,
        world=world,
    )
    checkpoint = ray_train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            trainer.load(Path(folder))
    data = Batches(
        rows,
        order,
        rank=rank,
        world=world,
        device=trainer.device,
        by_length=any(v.at_least for v in trainer.model.variables),
    )
    callback = StepCallback(trainer, messages, run.checkpoint_seconds)
    callback.send("workers", world)
    try:
        run_epochs(trainer, data, valid, callback, run.log_abs_det)
    except FloatingPointError as error:
        # It is raised on all ranks at once; if it left the loop, Ray would restart.
        return {"failed": str(error)}
    if context.get_local_rank() == 0:
        shutil.rmtree(batches.cache_folder(run.key), ignore_errors=True)
    return {"stopped": trainer.state.stopped}


def open_rows(run: TrainingRun, *, local_rank: int, world: int) -> tuple[Rows, Rows]:
    """Open the encoded train and valid rows; remote ones are fetched once per node.

    Args:
        run: What is trained.
        local_rank: Rank of this worker on its node.
        world: Number of workers.
    """
    folder = storage.join(run.prepared, "encoded")
    if local_rank == 0:
        batches.fetch(folder, run.key)
    if world > 1:
        dist.barrier()
    local = batches.fetch(folder, run.key)
    return Rows(local / "train", run.row_steps), Rows(local / "valid")


def build_model(run: TrainingRun, variables: Sequence[Variable]) -> AutoregressiveModel:
    """Build the untrained model of a run, with the same weights on every worker.

    Args:
        run: What is trained.
        variables: Variables of the encoded rows.
    """
    arguments = dict(run.model)
    family = arguments.pop("family")
    torch.manual_seed(run.training.seed)
    return registry.build(family, variables, **arguments)


def initial_model(run: TrainingRun) -> AutoregressiveModel:
    """Build the model of a run with the weights that training starts from."""
    encoder = read_encoder(run.prepared)
    variables = encoder.variables
    if encoder.images and run.start is None:
        # The encoder describes all pixels alike, though most differ from the average.
        train = storage.join(run.prepared, "encoded", "train")
        x = sample_rows(train, max(MAX_PIXELS // len(variables), 1))
        variables = with_frequencies(variables, torch.from_numpy(x))
    model = build_model(run, variables)
    if run.start is not None:
        with tempfile.TemporaryDirectory() as copy:
            folder = storage.fetch(run.start, Path(copy))
            model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model


class TrainingCallback(Protocol):
    """Follows a training run, and may stop it.

    Attributes:
        abandoned: Whether nobody waits for the result any more.
        out_of_time: Whether the time budget is used up.
    """

    abandoned: bool
    out_of_time: bool

    def __call__(self) -> bool:
        """Act after a step; return whether the epoch is to end here."""

    def send_history(self) -> None:
        """Report the epochs before a restart."""

    def end_epoch(self) -> None:
        """Report the epoch that ended."""


def run_epochs(
    trainer: Trainer,
    data: Batches,
    valid: Rows,
    callback: TrainingCallback,
    log_abs_det: dict[str, float],
) -> None:
    """Train epoch by epoch until the trainer or the callback stops.

    Args:
        trainer: Trains and evaluates.
        data: This rank's share of the train rows.
        valid: All valid rows, which decide which weights are saved.
        callback: Saves checkpoints, and may stop within an epoch.
        log_abs_det: As in `TrainingRun`.
    """
    state = trainer.state
    callback.send_history()
    while state.stopped is None and not callback.abandoned:
        remaining = data.epoch(state.epoch, start=state.batch)
        train_epoch(trainer, remaining, callback)
        if callback.abandoned:
            return
        start = time.perf_counter()
        share = batches.in_sequence(
            valid,
            trainer.config.batch_size,
            rank=trainer.rank,
            world=trainer.world,
            device=trainer.device,
        )
        nll = trainer.nll(share)
        seconds = time.perf_counter() - start
        trainer.end_epoch(nll, log_abs_det=log_abs_det, seconds=seconds)
        if callback.out_of_time:
            state.stopped = "time"
        callback.end_epoch()
