"""Training in plain torch: the mathematics of one rank, without Ray.

Everything random is a function of the seed, the rank and the number of the step, and
checkpoints hold the state: a run that resumes from a checkpoint takes the same steps as
one that was never interrupted.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ar_models.families.base import AutoregressiveModel
from tasks.config.train import ResolvedTrainConfig
from tasks.data.batches import Batch
from tasks.training import checkpoint
from tasks.training.augmentation import Augmentation
from tasks.training.checkpoint import EpochMetrics, TrainerState
from tasks.training.loss_weights import LossWeights
from tasks.training.optimization import (
    autocast_dtype,
    learning_rate,
    linear_weights,
    make_scheduler,
    parameter_groups,
    seed_step,
)

MAX_SKIPPED = 20
"""Number of consecutive steps without a finite gradient that ends training."""

NLL, ROWS, SKIPPED_IN_A_ROW, MOST_IN_A_ROW, SKIPPED = range(5)
"""Positions in `Trainer.sums`."""

NO_TRANSFORMS = MappingProxyType({"train": 0.0, "valid": 0.0})
"""Log absolute determinants of an encoder that leaves all numbers as they are."""

Tensors = tuple[Tensor, ...] | list[Tensor]


class Trainer:
    """A model in training, with its optimizer, averaged weights and best weights.

    Attributes:
        model: The model that is trained.
        ema_model: Exponential moving average of its weights, or None.
        best: Weights of `eval_model` at the lowest validation NLL; empty before the
            first epoch has ended.
        state: Progress of the run.
        loss_weights: Weights of the variables in the loss; None if all are equal.
        sums: On the device, this rank's sum of NLLs (nats) and all ranks' number of
            rows in the current epoch; the number of steps skipped in a row, the largest
            such number, and the number of all skipped steps.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        config: ResolvedTrainConfig,
        *,
        steps: int,
        device: torch.device | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Wrap a model for training.

        Args:
            model: Model with the same weights on all ranks.
            config: Configuration of training.
            steps: Number of planned global batches, over all epochs.
            device: Where to train; the CPU if None.
            rank: Rank of this process.
            world: Number of processes; more than one need a process group.
        """
        self.config, self.steps = config, steps
        self.device = device or torch.device("cpu")
        self.rank, self.world = rank, world
        self.model = model.to(self.device).train()
        self.ema_model: AveragedModel | None = None
        if config.ema_decay:
            self.ema_model = AveragedModel(self.model, multi_avg_fn=self._update_ema)
            # Else the first update would copy the weights instead of averaging them.
            self.ema_model.n_averaged.fill_(1)
        self.network: nn.Module = self.model
        if world > 1:
            self.network = DistributedDataParallel(
                self.model,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay), lr=1.0, fused=True
        )
        self.scheduler = make_scheduler(self.optimizer, config, steps)
        self.autocast = autocast_dtype(config.precision, self.device)
        self.augmentation = None
        if config.noise or config.swap_noise:
            self.augmentation = Augmentation(
                model.variables, config.noise, config.swap_noise, self.device
            )
        self.best: dict[str, Tensor] = {}
        self.state = TrainerState()
        self.loss_weights: LossWeights | None = None
        # The divergence in a bound would outweigh shares with lower weights.
        if config.loss_weights == "adaptive" and not model.is_bound:
            self.loss_weights = LossWeights(model.dim, self.device)
        self.sums = torch.zeros(5, dtype=torch.float64, device=self.device)

    @property
    def eval_model(self) -> AutoregressiveModel:
        """The model that is evaluated and saved: the average of the weights, if any."""
        if self.ema_model is None:
            return self.model
        return cast(AutoregressiveModel, self.ema_model.module)

    def step(self, batch: Batch) -> None:
        """Learn from one global batch; a gradient that is not finite changes nothing.

        Nothing here waits for the device.
        """
        loss = self.loss(batch)
        loss.backward()
        self._add_l1_gradient()
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.max_grad_norm
        )
        # All ranks have the same averaged gradient, so they skip together. The fused
        # optimizer skips by itself where `found_inf` is 1, as for gradient scaling.
        failed = norm.isfinite().logical_not()
        self.optimizer.found_inf = failed.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        self._update_sums(loss.detach(), batch.rows, failed)
        if self.ema_model is not None:
            self.ema_model.update_parameters(self.model)
        self.state.step += 1
        self.state.batch += 1

    @torch.no_grad()
    def _add_l1_gradient(self) -> None:
        if not self.config.l1:
            return
        for weight in linear_weights(self.model):
            if weight.grad is not None:
                weight.grad.add_(weight.sign(), alpha=self.config.l1)

    def loss(self, batch: Batch) -> Tensor:
        """Return this rank's share of the mean NLL of a global batch, times the ranks.

        Shares differ in size and gradients are averaged over ranks: weighted like this,
        the average is the gradient of the mean over all rows.
        """
        seed_step(self.config.seed, self.state.step, self.rank, self.device)
        self.model.step = self.state.step
        x = batch.x if self.augmentation is None else self.augmentation(batch.x)
        weights = None if self.loss_weights is None else self.loss_weights.weights
        with torch.autocast(
            self.device.type, self.autocast, enabled=self.autocast is not None
        ):
            log_prob: Tensor = self.network(x, weights)
        trimmed = self.trimmed_rows(batch.rows)
        if trimmed:
            threshold = self.trim_threshold(log_prob.detach(), batch, trimmed)
            log_prob = log_prob.masked_fill(log_prob < threshold, 0.0)
        rows = batch.rows - trimmed
        return -log_prob.sum() * (batch.weight * self.world / rows)

    def trimmed_rows(self, rows: int) -> int:
        """Return how many rows of a global batch the next step leaves out.

        None are left out during warm-up and the first epoch: then, the least probable
        rows are those that take longest to learn.

        Args:
            rows: Number of rows of the batch.
        """
        warm = self.state.step >= self.config.warmup_ratio * self.steps
        return int(self.config.trim * rows) if warm and self.state.epoch else 0

    def trim_threshold(self, log_prob: Tensor, batch: Batch, trimmed: int) -> Tensor:
        """Return the log-probability, in nats, below which rows are left out.

        Args:
            log_prob: Log-probabilities of this rank's share of the rows.
            batch: This rank's share of the global batch.
            trimmed: Number of rows of the global batch that are left out.
        """
        share = log_prob if batch.weight else log_prob[:0]
        if self.world > 1:
            # The shares of the ranks differ in length by at most one.
            longest = math.ceil(batch.rows / self.world)
            padded = log_prob.new_full((longest,), torch.inf)
            padded[: len(share)] = share
            shares = [torch.empty_like(padded) for _ in range(self.world)]
            dist.all_gather(shares, padded)
            share = torch.cat(shares)
        return share.kthvalue(trimmed + 1).values

    def _update_sums(self, loss: Tensor, rows: int, failed: Tensor) -> None:
        nll = torch.where(failed, torch.zeros_like(loss), loss)
        sums = self.sums
        sums[NLL] += nll.double() * (rows / self.world)
        sums[ROWS] += rows * failed.logical_not()
        sums[SKIPPED_IN_A_ROW] = (sums[SKIPPED_IN_A_ROW] + 1) * failed
        sums[MOST_IN_A_ROW] = torch.maximum(sums[MOST_IN_A_ROW], sums[SKIPPED_IN_A_ROW])
        sums[SKIPPED] += failed

    def _update_ema(self, averaged: Tensors, current: Tensors, _: Tensor | int) -> None:
        # A constant decay would give the random first weights too much weight.
        step = self.state.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    def check_finite(self) -> int:
        """Return the number of steps that were skipped since the start.

        Raises:
            FloatingPointError: `MAX_SKIPPED` of them or more followed one another.
        """
        if self.sums[MOST_IN_A_ROW] >= MAX_SKIPPED:
            raise self._divergence(f"in {MAX_SKIPPED} steps in a row")
        return int(self.sums[SKIPPED])

    def _divergence(self, when: str) -> FloatingPointError:
        config = self.config
        return FloatingPointError(
            f"the gradient was not finite {when}, up to step {self.state.step}; "
            f"lower train.learning_rate (now {config.learning_rate:g}) or "
            f"train.max_grad_norm (now {config.max_grad_norm:g}), or set "
            "train.precision to fp32"
        )

    @torch.no_grad()
    def nll(self, batches: Iterable[Tensor]) -> Tensor:
        """Return each variable's share of the mean NLL of rows under `eval_model`.

        Args:
            batches: This rank's share of the rows.

        Returns:
            Shares over the rows of all ranks, in nats, (dim,), in double precision.
        """
        model = self.eval_model.eval()
        total = torch.zeros(model.dim + 1, dtype=torch.float64, device=self.device)
        for x in batches:
            total[:-1] -= model.estimate_variable_log_prob(x).double().sum(0)
            total[-1] += len(x)
        self.model.train()
        total = self._sum_over_ranks(total)
        return total[:-1] / total[-1]

    def end_epoch(
        self,
        valid_nll: Tensor,
        *,
        log_abs_det: Mapping[str, float] = NO_TRANSFORMS,
        seconds: float = 0.0,
    ) -> EpochMetrics:
        """End the current epoch: record its metrics, and decide whether to stop.

        Args:
            valid_nll: Each variable's share of the validation NLL, as from `nll`.
            log_abs_det: Mean log absolute determinant of the encoder's transforms on
                train and valid rows, in nats; brings NLLs to the original columns.
            seconds: Time spent on validation.

        Raises:
            FloatingPointError: Too many gradients were not finite.
        """
        self.check_finite()
        state = self.state
        nll = float(self._sum_over_ranks(self.sums[:1].clone()))
        rows = float(self.sums[ROWS])
        if not rows:
            raise self._divergence("in a whole epoch")
        state.epoch += 1
        metrics = {
            "epoch": state.epoch,
            "train_nll": nll / rows - log_abs_det["train"],
            "valid_nll": float(valid_nll.sum()) - log_abs_det["valid"],
            "learning_rate": learning_rate(self.config, state.step - 1, self.steps),
            "rows_per_s": rows / max(state.epoch_seconds, 1e-9),
            "seconds": state.epoch_seconds + seconds,
        }
        state.history.append(metrics)
        state.seconds += metrics["seconds"]
        state.batch, state.epoch_seconds = 0, 0.0
        self.sums[[NLL, ROWS]] = 0.0
        self._update_best(metrics["valid_nll"])
        if self.loss_weights is not None:
            self.loss_weights.update(valid_nll)
        if state.epoch >= self.config.epochs:
            state.stopped = "epochs"
        elif state.epoch - state.best_epoch >= self.config.patience:
            state.stopped = "patience"
        return metrics

    def _update_best(self, valid_nll: float) -> None:
        if valid_nll < self.state.best_nll:
            self.state.best_nll, self.state.best_epoch = valid_nll, self.state.epoch
            weights = self.eval_model.state_dict()
            self.best = {n: t.detach().cpu().clone() for n, t in weights.items()}

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def save(self, folder: Path) -> None:
        """Write this rank's part of a checkpoint; all ranks may share the folder."""
        checkpoint.save_sums(folder, self.rank, self.sums)
        if self.rank == 0:
            self._save_common(folder)
        checkpoint.seal(folder, self.rank, self.world)

    def _save_common(self, folder: Path) -> None:
        """Write what is equal on all ranks to a checkpoint."""
        checkpoint.save_tensors(folder / checkpoint.WEIGHTS, self.model.state_dict())
        if self.ema_model is not None:
            averaged = self.ema_model.module.state_dict()
            checkpoint.save_tensors(folder / checkpoint.EMA_WEIGHTS, averaged)
        checkpoint.save_tensors(folder / checkpoint.BEST_WEIGHTS, self.best)
        checkpoint.save_optimizer(folder / checkpoint.OPTIMIZER, self.optimizer)
        if self.loss_weights is not None:
            path = folder / checkpoint.LOSS_WEIGHTS
            checkpoint.save_tensors(path, self.loss_weights.to_dict())
        checkpoint.write_state(folder, self.state)

    def load(self, folder: Path) -> None:
        """Resume from a checkpoint, whatever number of ranks wrote it."""
        self.model.load_state_dict(load_file(folder / checkpoint.WEIGHTS))
        if self.ema_model is not None:
            averaged = load_file(folder / checkpoint.EMA_WEIGHTS)
            self.ema_model.module.load_state_dict(averaged)
        self.best = load_file(folder / checkpoint.BEST_WEIGHTS)
        checkpoint.load_optimizer(folder / checkpoint.OPTIMIZER, self.optimizer)
        if self.loss_weights is not None:
            self.loss_weights.load(load_file(folder / checkpoint.LOSS_WEIGHTS))
        self.state = checkpoint.read_state(folder)
        self.scheduler = make_scheduler(
            self.optimizer, self.config, self.steps, done=self.state.step
        )
        sums = checkpoint.load_sums(folder, self.rank, self.world)
        self.sums = torch.tensor(sums, dtype=torch.float64, device=self.device)


def train_epoch(
    trainer: Trainer, batches: Iterable[Batch], callback: Callable[[], bool]
) -> None:
    """Take the steps of an epoch, or of what is left of it.

    Args:
        trainer: Learns from the batches.
        batches: This rank's share of the global batches.
        callback: Called after every step; if it returns true, the epoch ends early.
    """
    last = time.perf_counter()
    for batch in batches:
        trainer.step(batch)
        now = time.perf_counter()
        trainer.state.epoch_seconds += now - last
        last = now
        if callback():
            return
