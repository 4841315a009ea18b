"""A model in training, as plain torch: one rank's part of the mathematics, without Ray.

Everything random is a function of the seed, the rank and the number of the step, and
the state is saved with the weights: a run that goes on from a checkpoint takes the
same steps as one that was never interrupted.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ar_models.families.base import AutoregressiveModel
from tasks.config.train import TrainConfig
from tasks.data.batches import Batch
from tasks.training.augmentation import Augmentation

MAX_SKIPPED = 20
"""Steps in a row without a finite gradient after which training gives up."""

STATE = "state.json"
MODEL = "model.safetensors"
AVERAGE = "average.safetensors"
BEST = "best.safetensors"
OPTIMIZER = "optimizer.safetensors"

Record = dict[str, float]
"""What is known of one epoch, by name."""


@dataclass
class TrainerState:
    """Where training stands; the same on every rank.

    Attributes:
        epoch: Epochs that are done.
        batch: Global batches that are done of the epoch under way.
        step: Global batches that are done since the beginning.
        epoch_seconds: Spent on the steps of the epoch under way.
        seconds: Spent on the epochs that are done, over all restarts.
        best_nll: Least valid NLL so far, in nats per row.
        best_epoch: The epoch that gave it, counted from 1.
        history: A record per epoch: epoch, train_nll, valid_nll (nats per row),
            learning_rate, rows_per_s (of the steps), seconds.
        stopped: Why training is over, or None.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_nll: float = math.inf
    best_epoch: int = 0
    history: list[Record] = field(default_factory=list)
    stopped: Literal["epochs", "patience", "time"] | None = None


class Trainer:
    """A model, its averaged and its best weights, the optimiser and the state.

    Attributes:
        model: What is trained.
        kept: What is judged and kept: the model, or the running average of its weights.
        best: The weights of `kept` at the least valid NLL; empty before the first.
        state: Where training stands.
        sums: This rank's sum of NLLs (nats) and the rows learned from by all ranks, of
            the epoch under way; steps skipped in a row, the most of those, and all.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        config: TrainConfig,
        *,
        steps: int,
        device: torch.device | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Wraps a model.

        Args:
            model: With the same weights on every rank.
            config: How to train.
            steps: Global batches that are planned, over all epochs.
            device: Where to train; the CPU if None.
            rank: Number of this process.
            world: How many there are; more than one need a process group.
        """
        self.config, self.steps = config, steps
        self.device = device or torch.device("cpu")
        self.rank, self.world = rank, world
        self.model = model.to(self.device).train()
        self.eval_model = copy.deepcopy(self.model) if config.ema_decay else self.model
        self.network: nn.Module = self.model
        if world > 1:
            self.network = DistributedDataParallel(
                self.model,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay), lr=0.0, fused=True
        )
        self.autocast = autocast_dtype(config.precision, self.device)
        self.augmentation = None
        if config.noise or config.swap_noise:
            self.augmentation = Augmentation(
                model.variables, config.noise, config.swap_noise, self.device
            )
        self.best: dict[str, Tensor] = {}
        self.state = TrainerState()
        self.sums = torch.zeros(5, dtype=torch.float64, device=self.device)

    def step(self, batch: Batch) -> None:
        """Learns from one global batch; a gradient that is not finite changes nothing.

        Nothing here waits for the device.
        """
        rate = learning_rate(self.config, self.state.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(batch)
        loss.backward()
        self._penalise()
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.max_grad_norm
        )
        # After the exchange all ranks have the same gradient: they skip together. The
        # fused optimiser itself skips where `found_inf` is 1, as for gradient scaling.
        failed = norm.isfinite().logical_not()
        self.optimizer.found_inf = failed.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._count(loss.detach(), batch.rows, failed)
        self._average()
        self.state.step += 1
        self.state.batch += 1

    @torch.no_grad()
    def _penalise(self) -> None:
        """Adds the gradient of the weights' absolute sum, the same on every rank."""
        if not self.config.l1:
            return
        for weight in linear_weights(self.model):
            if weight.grad is not None:
                weight.grad.add_(weight.sign(), alpha=self.config.l1)

    def loss(self, batch: Batch) -> Tensor:
        """This rank's share of the mean NLL of a global batch, times the ranks.

        Ranks have shares of different size and their gradients are averaged: so each
        counts its rows, and the average is the gradient of the mean over all rows.
        """
        self.seed()
        self.model.step = self.state.step
        x = batch.x if self.augmentation is None else self.augmentation(batch.x)
        with torch.autocast(
            self.device.type, self.autocast, enabled=self.autocast is not None
        ):
            log_prob: Tensor = self.network(x)
        left_out = self.left_out(batch.rows)
        if left_out:
            least = self.least_kept(log_prob.detach(), batch, left_out)
            log_prob = log_prob.masked_fill(log_prob < least, 0.0)
        rows = batch.rows - left_out
        return -log_prob.sum() * (batch.weight * self.world / rows)

    def left_out(self, rows: int) -> int:
        """From how many rows of a global batch nothing is learned in the coming step.

        From the share `trim`, but from all rows until the rate has risen and an epoch
        is over: before, the unlikely ones are those that take longest to learn.
        """
        warm = self.state.step >= self.config.warmup_ratio * self.steps
        return int(self.config.trim * rows) if warm and self.state.epoch else 0

    def least_kept(self, log_prob: Tensor, batch: Batch, left_out: int) -> Tensor:
        """The log-probability from which on the rows of a global batch count, nats.

        Args:
            log_prob: Of this rank's share of the rows.
            batch: That share.
            left_out: How many rows of the global batch have less.
        """
        share = log_prob if batch.weight else log_prob[:0]
        if self.world > 1:
            # The ranks' shares differ in length by one at most.
            longest = math.ceil(batch.rows / self.world)
            padded = log_prob.new_full((longest,), torch.inf)
            padded[: len(share)] = share
            each = [torch.empty_like(padded) for _ in range(self.world)]
            dist.all_gather(each, padded)
            share = torch.cat(each)
        return share.kthvalue(left_out + 1).values

    def seed(self) -> None:
        """Makes what is random in the coming step a function of the step and rank."""
        seed = step_seed(self.config.seed, self.state.step, self.rank)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def _count(self, loss: Tensor, rows: int, failed: Tensor) -> None:
        learned = torch.where(failed, torch.zeros_like(loss), loss)
        self.sums[0] += learned.double() * (rows / self.world)
        self.sums[1] += rows * failed.logical_not()
        self.sums[2] = (self.sums[2] + 1) * failed
        self.sums[3] = torch.maximum(self.sums[3], self.sums[2])
        self.sums[4] += failed

    @torch.no_grad()
    def _average(self) -> None:
        if self.eval_model is self.model:
            return
        # The first steps would else weigh the random beginning too much.
        step = self.state.step
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.eval_model.parameters()), list(self.model.parameters()), 1 - decay
        )

    def check(self) -> int:
        """How many steps were skipped since the beginning.

        Raises:
            FloatingPointError: Too many of them followed one another.
        """
        if self.sums[3] >= MAX_SKIPPED:
            raise self._diverged(f"in {MAX_SKIPPED} steps in a row")
        return int(self.sums[4])

    def _diverged(self, when: str) -> FloatingPointError:
        return FloatingPointError(
            f"the gradient was not finite {when}, up to step {self.state.step}; "
            f"lower train.learning_rate (now {self.config.learning_rate:g}) or "
            f"train.max_grad_norm (now {self.config.max_grad_norm:g}), or set "
            "train.precision to fp32"
        )

    @torch.no_grad()
    def nll(self, batches: Iterable[Tensor]) -> float:
        """The mean NLL of rows under the kept weights, in nats, over all ranks.

        Args:
            batches: This rank's share of the rows.
        """
        self.eval_model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        for x in batches:
            total[0] -= self.eval_model.estimate_log_prob(x).double().sum()
            total[1] += len(x)
        self.model.train()
        nll, rows = self._sum(total).tolist()
        return float(nll / rows)

    def end_epoch(
        self, valid_nll: float, *, log_abs_det: float = 0.0, seconds: float = 0.0
    ) -> Record:
        """Closes the epoch under way and returns its record.

        Args:
            valid_nll: Of the kept weights, in nats per row of the original columns.
            log_abs_det: Mean log-volume of the train rows, nats: what brings this
                epoch's train NLL to the original columns.
            seconds: Spent since the last step, on validation.

        Raises:
            FloatingPointError: There was no finite gradient for too long.
        """
        self.check()
        state = self.state
        nll = float(self._sum(self.sums[:1].clone()))
        rows = float(self.sums[1])
        if not rows:
            raise self._diverged("in a whole epoch")
        state.epoch += 1
        record = {
            "epoch": state.epoch,
            "train_nll": nll / rows - log_abs_det,
            "valid_nll": valid_nll,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "rows_per_s": rows / max(state.epoch_seconds, 1e-9),
            "seconds": state.epoch_seconds + seconds,
        }
        state.history.append(record)
        state.seconds += record["seconds"]
        state.batch, state.epoch_seconds = 0, 0.0
        self.sums[:2] = 0.0
        self._judge(valid_nll)
        return record

    def _judge(self, valid_nll: float) -> None:
        """Keeps the weights if they are the best so far; sees whether to go on."""
        state = self.state
        if valid_nll < state.best_nll:
            state.best_nll, state.best_epoch = valid_nll, state.epoch
            weights = self.eval_model.state_dict()
            self.best = {n: t.detach().cpu().clone() for n, t in weights.items()}
        if state.epoch >= self.config.epochs:
            state.stopped = "epochs"
        elif state.epoch - state.best_epoch >= self.config.patience:
            state.stopped = "patience"

    def _sum(self, values: Tensor) -> Tensor:
        """The sum of each value over all ranks."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def save(self, folder: Path) -> None:
        """Writes this rank's part of a checkpoint; all parts may share the folder."""
        sums = [float(value) for value in self.sums]
        _rank_file(folder, self.rank).write_text(json.dumps(sums))
        if self.rank:
            return
        save_file(_contiguous(self.model.state_dict()), folder / MODEL)
        if self.eval_model is not self.model:
            save_file(_contiguous(self.eval_model.state_dict()), folder / AVERAGE)
        save_file(self.best, folder / BEST)
        moments = {
            f"{number}.{name}": value
            for number, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        save_file(_contiguous(moments), folder / OPTIMIZER)
        (folder / STATE).write_text(json.dumps(asdict(self.state)))

    def load(self, folder: Path) -> None:
        """Goes on from a checkpoint, whatever the number of ranks that wrote it."""
        self.model.load_state_dict(load_file(folder / MODEL))
        if self.eval_model is not self.model:
            self.eval_model.load_state_dict(load_file(folder / AVERAGE))
        self.best = load_file(folder / BEST)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(folder / OPTIMIZER).items():
            number, name = key.split(".")
            state.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.state = read_state(folder)
        count = len(list(folder.glob("rank-*.json")))
        parts = [json.loads(_rank_file(folder, r).read_text()) for r in range(count)]
        self.sums = torch.tensor(parts[0], dtype=torch.float64, device=self.device)
        self.sums[0] = math.fsum(part[0] for part in parts[self.rank :: self.world])


def read_state(folder: Path) -> TrainerState:
    """Where the training stood that wrote the checkpoint in `folder`."""
    return TrainerState(**json.loads((folder / STATE).read_text()))


def _rank_file(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.json"


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def train_epoch(
    trainer: Trainer, batches: Iterable[Batch], callback: Callable[[], bool]
) -> None:
    """Takes the steps of (the rest of) an epoch.

    Args:
        trainer: Learns.
        batches: This rank's share of the global batches.
        callback: Called after every step; true ends the epoch early.
    """
    last = time.perf_counter()
    for batch in batches:
        trainer.step(batch)
        now = time.perf_counter()
        trainer.state.epoch_seconds += now - last
        last = now
        if callback():
            return


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of step number `step`, from 0, of `steps` planned ones."""
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(steps - warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed within a step: 32 bits, which is all that the CPU generator takes."""
    mixed = np.random.SeedSequence([seed % 2**64, step, rank])
    return int(mixed.generate_state(1)[0])


def linear_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear maps, without biases and tables."""
    return [p for n, p in model.named_parameters() if n.endswith("weight")]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The weights of linear maps, which decay, and all others, which do not."""
    linear = linear_weights(model)
    others = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    return [
        {"params": linear, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of matrix products, or None for that of the weights.

    `auto` takes bfloat16 where the hardware multiplies it faster: on GPUs that know it
    and on CPUs with AMX or AVX-512 BF16 (measured: whole steps 2.6 times faster).
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = torch.cpu.get_capabilities()
        faster = cpu.get("amx_bf16", False) or cpu.get("avx512_bf16", False)
    return torch.bfloat16 if faster else None
