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

from ar_models import families
from ar_models.autoregressive import AutoregressiveModel
from ar_models.density import WEIGHTS
from ar_models.encoder import TableEncoder
from ar_models.variables import Variable
from tasks import batches, storage
from tasks.baseline import with_frequencies
from tasks.batches import Batches, Order, Rows
from tasks.config import TrainConfig
from tasks.learner import Learner, train_epoch
from tasks.orderings import some_rows

PULSE_SECONDS = 1.0
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
            log_volume (mean of the train and valid rows, nats), start (folder of the
            model to go on from, or None), every (see `tasks.batches.Rows`),
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
    learner = Learner(
        begun(config),
        training,
        steps=training.epochs * order.batches,
        device=get_device(),
        rank=rank,
        world=world,
    )
    checkpoint = ray_train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            learner.load(Path(folder))
    data = Batches(
        rows,
        order,
        rank=rank,
        world=world,
        device=learner.device,
        by_length=any(v.at_least for v in learner.model.variables),
    )
    pulse = Pulse(learner, config["messages"], config["checkpoint_seconds"])
    try:
        run_epochs(learner, data, valid, pulse, config["log_volume"])
    except FloatingPointError as error:
        # All ranks come here together. If it rose further, Ray would try again.
        return {"failed": str(error)}
    if context.get_local_rank() == 0:
        shutil.rmtree(batches.cache_folder(config["key"]), ignore_errors=True)
    return {"stopped": learner.position.stopped}


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
    return families.build(family, variables, arguments)


def begun(config: dict[str, Any]) -> AutoregressiveModel:
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
            model.load_state_dict(load_file(folder / WEIGHTS))
    return model


def read_encoder(prepared: str) -> TableEncoder:
    """The encoder of a prepared dataset."""
    return TableEncoder.from_dict(
        storage.read_json(storage.join(prepared, "encoder.json"))
    )


def run_epochs(
    learner: Learner,
    data: Batches,
    valid: Rows,
    pulse: "Pulse",
    log_volume: dict[str, float],
) -> None:
    """Trains until something says stop.

    Args:
        learner: Learns.
        data: This rank's share of the train rows.
        valid: All rows that decide which weights are kept.
        pulse: Saves, and says when to stop within an epoch.
        log_volume: Mean log-volumes of the train and valid rows, nats.
    """
    position = learner.position
    pulse.tell_history()
    while position.stopped is None and not pulse.abandoned:
        rest = data.epoch(position.epoch, start=position.batch)
        train_epoch(learner, rest, pulse)
        if pulse.abandoned:
            return
        start = time.perf_counter()
        own = batches.in_sequence(
            valid,
            learner.config.batch_size,
            rank=learner.rank,
            world=learner.world,
            device=learner.device,
        )
        nll = learner.nll(own) - log_volume["valid"]
        seconds = time.perf_counter() - start
        learner.end_epoch(nll, log_volume=log_volume["train"], seconds=seconds)
        if pulse.out_of_time:
            position.stopped = "time"
        pulse.end_epoch()


class Pulse:
    """About once a second and at the same step on all ranks: news, saving, stopping.

    Attributes:
        abandoned: The driver takes no messages any more; agreed by all ranks.
        out_of_time: The time budget is used up; agreed by all ranks.
    """

    def __init__(
        self, learner: Learner, messages: Messages, checkpoint_seconds: float
    ) -> None:
        self.learner, self.messages = learner, messages
        self.checkpoint_seconds = checkpoint_seconds
        self.abandoned = self.out_of_time = self.undelivered = False
        self.step, self.time = learner.position.step, time.perf_counter()
        self.due = self.step + 1
        self.saved = self.time
        self.skipped = 0

    def __call__(self) -> bool:
        """Called after every step; true where the epoch is to end here."""
        if self.learner.position.step < self.due:
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
        self.step, self.time, self.due = self.learner.position.step, now, int(due)
        stop = self.out_of_time or self.abandoned
        if save and not stop:
            self.save()
        return stop

    def end_epoch(self) -> None:
        """Tells of the epoch that ended, and saves what a crash must not cost."""
        position = self.learner.position
        self.tell("epoch", position.history[-1])
        if position.stopped is not None:
            self.tell("steps", (position.step, position.step))
        limit = min(self.checkpoint_seconds, EPOCH_SECONDS)
        late = time.perf_counter() - self.saved >= limit
        save, abandoned = self.agree(
            late or position.stopped is not None, self.undelivered
        )
        self.abandoned = bool(abandoned)
        if save:
            self.save()

    def next_step(self, now: float) -> float:
        """The step at which a pulse is due after this one, at the speed so far."""
        steps = self.learner.position.step - self.step
        speed = steps / max(now - self.time, 1e-9)
        # The first steps may be slow; later ones are not believed to speed up much.
        return self.learner.position.step + min(
            max(1, int(speed * PULSE_SECONDS)), 10 * steps
        )

    def time_is_up(self) -> bool:
        """Whether the time budget is used up."""
        position, budget = self.learner.position, self.learner.config.max_seconds
        return budget is not None and position.seconds + position.epoch_seconds > budget

    def agree(self, *values: float) -> list[float]:
        """What rank 0 has as `values`."""
        if self.learner.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.learner.device)
        dist.broadcast(tensor, src=0)
        return tensor.tolist()

    def save(self) -> None:
        """Reports a checkpoint; all ranks meet here."""
        with tempfile.TemporaryDirectory() as folder:
            self.learner.save(Path(folder))
            ray_train.report(
                {"step": self.learner.position.step},
                checkpoint=ray_train.Checkpoint.from_directory(folder),
            )
        self.saved = time.perf_counter()

    def tell_history(self) -> None:
        """Tells of the epochs before a restart, which a new driver does not know."""
        for record in self.learner.position.history:
            self.tell("epoch", record)

    def tell_steps(self) -> None:
        """Tells how far training is, and of steps that changed nothing."""
        skipped = self.learner.check()
        if skipped > self.skipped:
            self.tell(
                "warning",
                f"{skipped} steps up to step {self.learner.position.step} had no "
                "finite gradient and changed nothing; if that goes on, lower "
                "train.learning_rate",
            )
        self.skipped = skipped
        self.tell("steps", (self.learner.position.step, self.learner.steps))

    def tell(self, kind: str, content: Any) -> None:  # what belongs to the kind
        """Sends a message to the driver, from rank 0."""
        if self.learner.rank == 0 and not self.undelivered:
            try:
                self.messages.put((kind, content))
            except ActorDiedError:
                # The driver was interrupted; the next pulse tells the other ranks.
                self.undelivered = True
