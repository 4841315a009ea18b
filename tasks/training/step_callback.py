"""A callback after every training step: messages, checkpoints and early stops."""

import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from ray import train as ray_train
from ray.exceptions import ActorDiedError

from tasks.training.trainer import Trainer

INTERVAL_SECONDS = 1.0
"""Time between two agreements of the ranks on checkpoints and stops."""

MIN_EPOCH_SECONDS = 5.0
"""Training time since the last checkpoint after which the end of an epoch gets one."""


class MessageQueue(Protocol):
    """Takes the workers' messages to the driver."""

    def put(self, message: tuple[str, Any]) -> None:  # content depends on the kind
        """Take a kind and content: steps, epoch, workers or warning.

        The content is (done, planned), the metrics, their number, or a text.
        """


class StepCallback:
    """Sends messages, saves checkpoints and decides about stops, once per second.

    All ranks act at the same step, as rank 0 decides.

    Attributes:
        abandoned: Whether the driver takes no messages any more.
        out_of_time: Whether the time budget is used up.
    """

    def __init__(
        self, trainer: Trainer, messages: MessageQueue, checkpoint_seconds: float
    ) -> None:
        self.trainer, self.messages = trainer, messages
        self.checkpoint_seconds = checkpoint_seconds
        self.abandoned = self.out_of_time = self._undelivered = False
        self._last_step, self._last_time = trainer.state.step, time.perf_counter()
        self._due_step = self._last_step + 1
        self._saved_time = self._last_time
        self._skipped = 0

    def __call__(self) -> bool:
        """Act after a step; return whether the epoch is to end here."""
        if self.trainer.state.step < self._due_step:
            return False
        self.send_progress()
        now = time.perf_counter()
        save, out_of_time, abandoned, due = self._agree(
            now - self._saved_time >= self.checkpoint_seconds,
            self._is_out_of_time(),
            self._undelivered,
            self._next_due_step(now),
        )
        self.out_of_time, self.abandoned = bool(out_of_time), bool(abandoned)
        self._last_step, self._last_time = self.trainer.state.step, now
        self._due_step = int(due)
        stop = self.out_of_time or self.abandoned
        if save and not stop:
            self.save()
        return stop

    def end_epoch(self) -> None:
        """Send the metrics of the epoch that ended; save a checkpoint if one is due."""
        state = self.trainer.state
        self.send("epoch", state.history[-1])
        if state.stopped is not None:
            self.send("steps", (state.step, state.step))
        limit = min(self.checkpoint_seconds, MIN_EPOCH_SECONDS)
        due = time.perf_counter() - self._saved_time >= limit
        save, abandoned = self._agree(
            due or state.stopped is not None, self._undelivered
        )
        self.abandoned = bool(abandoned)
        if save:
            self.save()

    def save(self) -> None:
        """Report a checkpoint to Ray; all ranks have to call this."""
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.save(Path(folder))
            ray_train.report(
                {"step": self.trainer.state.step},
                checkpoint=ray_train.Checkpoint.from_directory(folder),
            )
        self._saved_time = time.perf_counter()

    def send_history(self) -> None:
        """Send the epochs before a restart, which a new driver does not know."""
        for metrics in self.trainer.state.history:
            self.send("epoch", metrics)

    def send_progress(self) -> None:
        """Send the number of steps, and a warning if more of them were skipped."""
        state = self.trainer.state
        skipped = self.trainer.check_finite()
        if skipped > self._skipped:
            self.send(
                "warning",
                f"{skipped} steps up to step {state.step} had no finite gradient and "
                "were skipped; if this goes on, lower train.learning_rate",
            )
        self._skipped = skipped
        self.send("steps", (state.step, self.trainer.steps))

    def send(self, kind: str, content: Any) -> None:  # content depends on the kind
        """Send a message to the driver, from rank 0."""
        if self.trainer.rank == 0 and not self._undelivered:
            try:
                self.messages.put((kind, content))
            except ActorDiedError:
                # The driver was interrupted; the next agreement tells the other ranks.
                self._undelivered = True

    def _next_due_step(self, now: float) -> float:
        """Return the step that is about a second away, at the speed so far."""
        steps = self.trainer.state.step - self._last_step
        speed = steps / max(now - self._last_time, 1e-9)
        # The first steps may be slow, so the interval grows at most tenfold.
        return self.trainer.state.step + min(
            max(1, int(speed * INTERVAL_SECONDS)), 10 * steps
        )

    def _is_out_of_time(self) -> bool:
        state, budget = self.trainer.state, self.trainer.config.max_seconds
        return budget is not None and state.seconds + state.epoch_seconds > budget

    def _agree(self, *values: float) -> list[float]:
        """Return the values of rank 0 on all ranks."""
        if self.trainer.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.trainer.device)
        dist.broadcast(tensor, src=0)
        return tensor.tolist()
