"""Trainers of a small model, and training in this process, for tests."""

import json
from pathlib import Path
from typing import Any

import torch
from ray import __version__ as ray_version
from ray import train as ray_train
from ray.exceptions import ActorDiedError
from ray.train.torch import TorchTrainer
from torch import Tensor

from ar_models.families.made import MADE
from ar_models.variables import Variable
from tasks.config.model import ModelConfig, model_config
from tasks.config.train import ResolvedTrainConfig
from tasks.data.batches import Batch
from tasks.data.prepared import read_encoder
from tasks.training import driver, orderings, train, worker
from tasks.training.checkpoint import EpochMetrics
from tasks.training.trainer import Trainer, train_epoch

VARIABLES = (
    Variable("state", "categorical", group=0, size=3),
    Variable("amount", "real", group=0, parent=0, knots=(-2.0, 0.0, 2.0)),
    Variable("count", "integer", group=1, scale=3.0, lower=0.0, atoms=(0.0,)),
    Variable("word", "categorical", group=2, size=100),
)
"""Variables of the rows."""

STEPS = 24
"""Number of planned steps, in two epochs."""

MODEL = model_config(
    hidden=24, layers=1, components=2, dropout=0.1, ordering="dependence"
)
"""Configuration of a small network."""


def train_config(**keys: Any) -> ResolvedTrainConfig:
    """Return a configuration of training in which only the given keys are special."""
    plain = {"epochs": 30, "batch_size": 1024, "ema_decay": 0.0, "patience": 5}
    return ResolvedTrainConfig(**plain | keys)


TRAINING = train_config(epochs=8, batch_size=100, precision="fp32", ema_decay=0.5)
"""Configuration of a short training."""


def make_trainer(seed: int = 0, **config: Any) -> Trainer:
    """Return a trainer of a small model with dropout and orderings."""
    torch.manual_seed(seed)
    size = {"hidden": 16, "layers": 1, "components": 2, "embedding": 4}
    settings = MADE.Settings(**size, dropout=0.2, orderings=2, ordering="random")
    training = train_config(epochs=2, precision="fp32", **config)
    return Trainer(MADE(VARIABLES, settings), training, steps=STEPS)


def spread(nll: float) -> Tensor:
    """Return a validation NLL as the sum of equal shares of the variables."""
    return torch.full((len(VARIABLES),), nll / len(VARIABLES), dtype=torch.float64)


def draw_rows(rows: int, seed: int) -> Tensor:
    """Draw rows in which word depends on state and amount is often absent."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randint(0, 3, (rows,), generator=generator).float()
    amount = torch.randn(rows, generator=generator).where(state == 0, torch.nan)
    count = torch.randint(0, 9, (rows,), generator=generator).float()
    return torch.stack([state, amount, count, 10 * state], dim=1)


def make_batches(epoch: int = 0) -> list[Batch]:
    """Return the batches of an epoch; the last one is shorter."""
    sizes = [32] * (STEPS // 2 - 1) + [5]
    return [
        Batch(draw_rows(size, seed=100 * epoch + i), size)
        for i, size in enumerate(sizes)
    ]


def take_steps(trainer: Trainer, batches: list[Batch]) -> None:
    """Take the steps of some batches."""
    train_epoch(trainer, batches, lambda: False)


def write_run(folder: Path) -> None:
    """Write the records of a run of Ray: checkpoints after three and six steps."""
    trainer, batches = make_trainer(), make_batches()
    for place, name in enumerate(("first", "second")):
        take_steps(trainer, batches[3 * place : 3 * place + 3])
        (folder / name).mkdir(parents=True)
        trainer.save(folder / name)
    results = [
        {"version": 0, "checkpoint_dir_name": name, "metrics": {"step": 1}}
        for name in ("first", "second")
    ]
    snapshot = {
        "ray_version": ray_version,
        "checkpoint_results": results,
        "checkpoint_report_indices": [0, 1],
        "latest_checkpoint_result": results[1],
        "pending_training_results": [],
        "pending_validation_specs": [],
        "current_report_index": 2,
        "validated_checkpoint_dir_names": [],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }
    (folder / driver.SNAPSHOT).write_text(json.dumps(snapshot))


def continue_run(folder: Path) -> Trainer:
    """Continue a run as far as nine steps, from what is whole of its checkpoints."""
    driver.discard_unreadable(str(folder))
    trainer, path = make_trainer(), folder / driver.SNAPSHOT
    if path.exists():
        latest = json.loads(path.read_text())["latest_checkpoint_result"]
        trainer.load(folder / latest["checkpoint_dir_name"])
    take_steps(trainer, make_batches()[trainer.state.step : 9])
    return trainer


def all_weights(trainer: Trainer) -> Tensor:
    """Return all weights of a trainer, including averages, as one vector."""
    models = (trainer.model, trainer.eval_model)
    parameters = [p.detach().flatten() for m in models for p in m.parameters()]
    return torch.cat(parameters)


class Messages(list[tuple[str, Any]]):
    """Queue of the messages of a worker in this process."""

    def put(self, message: tuple[str, Any]) -> None:
        self.append(message)

    def records(self) -> list[EpochMetrics]:
        return [content for kind, content in self if kind == "epoch"]


class UndeliveredMessages(Messages):
    """Queue whose driver was interrupted."""

    def put(self, message: tuple[str, Any]) -> None:
        super().put(message)
        raise ActorDiedError


def train_here(
    prepared: str, model: ModelConfig, training: ResolvedTrainConfig, messages: Messages
) -> dict[str, Any]:
    """Run the training loop in this process and return its result."""
    run = worker.TrainingRun(
        key="here",
        prepared=prepared,
        model=orderings.resolve(
            model.model_dump(mode="json"), read_encoder(prepared), prepared
        ),
        training=training,
        log_abs_det=train.read_prepared_manifest(prepared)["log_abs_det"],
    )
    config = {"run": run, "threads": 1, "messages": messages}
    trainer = TorchTrainer(
        worker.train_loop_per_worker,
        train_loop_config=config,
        scaling_config=ray_train.ScalingConfig(num_workers=0),
    )
    returned: dict[str, Any] = trainer.fit().return_value
    return returned
