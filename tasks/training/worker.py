"""What each training worker does: it joins the mathematics to Ray Train."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from ray import train as ray_train
from ray.exceptions import ActorDiedError
from ray.train.torch import get_device
from safetensors.torch import load_file

from ar_models.density.saved_form import WEIGHTS_FILE
from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.variables import Variable
from tasks.config.train import TrainConfig
from tasks.data import batches
from tasks.data.batches import Batches, Order, Rows
from tasks.data.prepared import read_encoder
from tasks.evaluation.baseline import with_frequencies
from tasks.runtime import storage
from tasks.training.orderings import some_rows
from tasks.training.trainer import Trainer, train_epoch

CALLBACK_SECONDS = 1.0
"""How often the ranks agree whether to save a checkpoint and whether to stop."""

EPOCH_SECONDS = 5.0
"""Training since the last checkpoint from which the end of an epoch gets one."""


PIXELS = 2**24
"""Pixels of train images that the first biases are taken from, about."""


class Messages(Protocol):
    """Takes what the driver is to be told."""

    def put(self, message: tuple[str, Any]) -> None:  # what belongs to the kind
        """Takes ("steps", (done, planned)), ("epoch", record) or ("warning", text)."""


def train_loop_per_worker(
    config: dict[str, Any],  # see Args
) -> dict[str, str | None]:
    """Goes on from the last checkpoint until training is over.

    Args:
        config: key, prepared (folder), model and training (configurations),
            log_abs_det (mean of the train and valid rows, nats), start (folder of the
            model to go on from, or None), every (see `tasks.data.batches.Rows`),
            checkpoint_seconds, threads and messages.

    Returns:
        `failed` with a message where a restart would not help, or else `stopped`.
    """
    # Ray gives every worker one OpenMP thread.
    torch.set_num_threads(config["threads"])
    context = ray_train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    training = TrainConfig(**config["training"])
    rows, valid = open_rows(config, local_rank=context.get_local_rank(), world=world)
    order = Order.of(rows, batch_size=training.batch_size, seed=training.seed)
    trainer = Trainer(
        initial_model(config),
        training,
        steps=training.epochs * order.batches,
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
    callback = StepCallback(trainer, config["messages"], config["checkpoint_seconds"])
    try:
        run_epochs(trainer, data, valid, callback, config["log_abs_det"])
    except FloatingPointError as error:
        # All ranks come here together. If it rose further, Ray would try again.
        return {"failed": str(error)}
    if context.get_local_rank() == 0:
        shutil.rmtree(batches.cache_folder(config["key"]), ignore_errors=True)
    return {"stopped": trainer.state.stopped}


def open_rows(
    config: dict[str, Any], *, local_rank: int, world: int
) -> tuple[Rows, Rows]:
    """The encoded train and valid rows; one process per node fetches remote ones."""
    folder = storage.join(config["prepared"], "encoded")
    if local_rank == 0:
        batches.fetch(folder, config["key"])
    if world > 1:
        dist.barrier()
    local = batches.fetch(folder, config["key"])
    return Rows(local / "train", config["every"]), Rows(local / "valid")


def build(config: dict[str, Any], variables: Sequence[Variable]) -> AutoregressiveModel:
    """The untrained model of a run; the same weights wherever it is built."""
    arguments = dict(config["model"])
    family = arguments.pop("family")
    torch.manual_seed(config["training"]["seed"])
    return registry.build(family, variables, **arguments)


def initial_model(config: dict[str, Any]) -> AutoregressiveModel:
    """The model of a run as training begins, with the weights that it goes on from."""
    encoder = read_encoder(config["prepared"])
    variables = encoder.variables
    if encoder.images and config["start"] is None:
        # The encoder describes all pixels alike, and most are far from that.
        train = storage.join(config["prepared"], "encoded", "train")
        x = some_rows(train, max(PIXELS // len(variables), 1))
        variables = with_frequencies(variables, torch.from_numpy(x))
    model = build(config, variables)
    if config["start"] is not None:
        with tempfile.TemporaryDirectory() as copy:
            folder = storage.fetch(config["start"], Path(copy))
            model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model


def run_epochs(
    trainer: Trainer,
    data: Batches,
    valid: Rows,
    callback: "StepCallback",
    log_abs_det: dict[str, float],
) -> None:
    """Trains until something says stop.

    Args:
        trainer: Learns.
        data: This rank's share of the train rows.
        valid: All rows that decide which weights are kept.
        callback: Saves, and says when to stop within an epoch.
        log_abs_det: Mean log-volumes of the train and valid rows, nats.
    """
    state = trainer.state
    callback.tell_history()
    while state.stopped is None and not callback.abandoned:
        rest = data.epoch(state.epoch, start=state.batch)
        train_epoch(trainer, rest, callback)
        if callback.abandoned:
            return
        start = time.perf_counter()
        own = batches.in_sequence(
            valid,
            trainer.config.batch_size,
            rank=trainer.rank,
            world=trainer.world,
            device=trainer.device,
        )
        nll = trainer.nll(own) - log_abs_det["valid"]
        seconds = time.perf_counter() - start
        trainer.end_epoch(nll, log_abs_det=log_abs_det["train"], seconds=seconds)
        if callback.out_of_time:
            state.stopped = "time"
        callback.end_epoch()


class StepCallback:
    """About once a second and at the same step on all ranks: news, saving, stopping.

    Attributes:
        abandoned: The driver takes no messages any more; agreed by all ranks.
        out_of_time: The time budget is used up; agreed by all ranks.
    """

    def __init__(
        self, trainer: Trainer, messages: Messages, checkpoint_seconds: float
    ) -> None:
        self.trainer, self.messages = trainer, messages
        self.checkpoint_seconds = checkpoint_seconds
        self.abandoned = self.out_of_time = self.undelivered = False
        self.step, self.time = trainer.state.step, time.perf_counter()
        self.due = self.step + 1
        self.saved = self.time
        self.skipped = 0

    def __call__(self) -> bool:
        """Called after every step; true where the epoch is to end here."""
        if self.trainer.state.step < self.due:
            return False
        self.tell_steps()
        now = time.perf_counter()
        save, out_of_time, abandoned, due = self.agree(
            now - self.saved >= self.checkpoint_seconds,
            self.time_is_up(),
            self.undelivered,
            self.next_step(now),
        )
        self.out_of_time, self.abandoned = bool(out_of_time), bool(abandoned)
        self.step, self.time, self.due = self.trainer.state.step, now, int(due)
        stop = self.out_of_time or self.abandoned
        if save and not stop:
            self.save()
        return stop

    def end_epoch(self) -> None:
        """Tells of the epoch that ended, and saves what a crash must not cost."""
        state = self.trainer.state
        self.tell("epoch", state.history[-1])
        if state.stopped is not None:
            self.tell("steps", (state.step, state.step))
        limit = min(self.checkpoint_seconds, EPOCH_SECONDS)
        late = time.perf_counter() - self.saved >= limit
        save, abandoned = self.agree(
            late or state.stopped is not None, self.undelivered
        )
        self.abandoned = bool(abandoned)
        if save:
            self.save()

    def next_step(self, now: float) -> float:
        """The step at which a callback is due after this one, at the speed so far."""
        steps = self.trainer.state.step - self.step
        speed = steps / max(now - self.time, 1e-9)
        # The first steps may be slow; later ones are not believed to speed up much.
        return self.trainer.state.step + min(
            max(1, int(speed * CALLBACK_SECONDS)), 10 * steps
        )

    def time_is_up(self) -> bool:
        """Whether the time budget is used up."""
        state, budget = self.trainer.state, self.trainer.config.max_seconds
        return budget is not None and state.seconds + state.epoch_seconds > budget

    def agree(self, *values: float) -> list[float]:
        """What rank 0 has as `values`."""
        if self.trainer.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.trainer.device)
        dist.broadcast(tensor, src=0)
        return tensor.tolist()

    def save(self) -> None:
        """Reports a checkpoint; all ranks meet here."""
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.save(Path(folder))
            ray_train.report(
                {"step": self.trainer.state.step},
                checkpoint=ray_train.Checkpoint.from_directory(folder),
            )
        self.saved = time.perf_counter()

    def tell_history(self) -> None:
        """Tells of the epochs before a restart, which a new driver does not know."""
        for record in self.trainer.state.history:
            self.tell("epoch", record)

    def tell_steps(self) -> None:
        """Tells how far training is, and of steps that changed nothing."""
        skipped = self.trainer.check()
        if skipped > self.skipped:
            self.tell(
                "warning",
                f"{skipped} steps up to step {self.trainer.state.step} had no "
                "finite gradient and changed nothing; if that goes on, lower "
                "train.learning_rate",
            )
        self.skipped = skipped
        self.tell("steps", (self.trainer.state.step, self.trainer.steps))

    def tell(self, kind: str, content: Any) -> None:  # what belongs to the kind
        """Sends a message to the driver, from rank 0."""
        if self.trainer.rank == 0 and not self.undelivered:
            try:
                self.messages.put((kind, content))
            except ActorDiedError:
                # The driver was interrupted; the next callback tells the other ranks.
                self.undelivered = True
