"""Numbers for the settings that are `auto`, from the size of the training set.

The rules count optimisation steps rather than epochs: a network needs thousands of
steps however few rows there are, so few rows are read often and in small batches. Early
stopping decides how many of the planned epochs are trained.
"""

import math
from dataclasses import dataclass

from tasks.config.model import ModelConfig
from tasks.config.section import AUTO
from tasks.config.train import ResolvedTrainConfig, TrainConfig

EPOCHS = range(8, 301)
"""Numbers of epochs to choose from."""

BATCH_SIZES = range(32, 4097, 8)
"""Numbers of rows per step to choose from."""

WIDTHS = range(128, 513, 64)
"""Numbers of units per hidden layer to choose from."""

MAX_DROPOUT = 0.5
"""Largest share of units to drop."""

AVERAGED_SHARE = 1 / 12
"""Share of the steps over which weights are averaged."""

MIN_AVERAGED_STEPS = 10
"""Number of steps below which weights are not averaged."""


@dataclass(frozen=True)
class Choice:
    """The number that a setting has in place of `auto`.

    Attributes:
        value: The number.
        reason: What the number counts, and what it depends on.
    """

    value: float
    reason: str


def choose(rows: int, columns: int) -> dict[str, Choice]:
    """Return the numbers for a dataset, by dotted key of the configuration.

    With n rows, a batch has 2.4 √n of them (256 of 11,000), and training takes at most
    90 (10,000 / n)^⅓ epochs. Together this makes about 800 n^⅙ steps: 2,500 for 1,000
    rows, 3,800 for 10,000 and 6,600 for 300,000. Hidden layers have 2.4 √n units, or 4
    per column if that is more. Dropout grows with the pairs of columns per row, as each
    pair may have a dependence to learn: it is 0.45 for one pair per row, and 0.15 less
    for a tenth of that. The constants of this module bound all of these.

    Args:
        rows: Number of training rows.
        columns: Number of modelled columns.

    Example:
        >>> choose(10_000, 12)["train.epochs"].value
        90
    """
    rows, columns = max(rows, 1), max(columns, 1)
    root = 2.4 * math.sqrt(rows)
    batch_size = _nearest(root, BATCH_SIZES)
    epochs = _nearest(90 * (10_000 / rows) ** (1 / 3), EPOCHS)
    steps = epochs * math.ceil(rows / batch_size)
    dropout = 0.45 + 0.15 * math.log10(columns**2 / rows)
    dropout = round(20 * min(max(dropout, 0.0), MAX_DROPOUT)) / 20
    return {
        "model.hidden": Choice(
            _nearest(max(root, 4 * columns), WIDTHS),
            "units, more for many rows or columns",
        ),
        "model.dropout": Choice(
            dropout, "of the units, more for many columns and few rows"
        ),
        "train.epochs": Choice(
            epochs, f"at most, or {steps:,} steps; early stopping may end training"
        ),
        "train.batch_size": Choice(batch_size, "rows per step, more for many rows"),
        "train.ema_decay": Choice(
            ema_decay(steps), "averages the weights of a twelfth of the steps"
        ),
        "train.patience": Choice(
            patience(epochs), "epochs without progress end training, a quarter of all"
        ),
    }


def resolve(
    model: ModelConfig, training: TrainConfig, rows: int, columns: int
) -> tuple[ModelConfig, ResolvedTrainConfig]:
    """Replace every `auto` in two sections of the configuration by a number.

    Patience and the averaging of weights follow from the number of epochs and the size
    of batches, whether these are chosen or given.

    Args:
        model: Configuration of the network.
        training: Configuration of training.
        rows: Number of training rows.
        columns: Number of modelled columns.
    """
    chosen = {key: choice.value for key, choice in choose(rows, columns).items()}
    network = {
        key: chosen[f"model.{key}"]
        for key, value in model.settings().items()
        if value == AUTO and key != "ordering"  # which depends on the columns
    }
    given = {k: value for k, value in training.model_dump().items() if value != AUTO}
    epochs = int(given.get("epochs", chosen["train.epochs"]))
    batch_size = int(given.get("batch_size", chosen["train.batch_size"]))
    values = {
        "epochs": epochs,
        "batch_size": batch_size,
        "ema_decay": ema_decay(epochs * math.ceil(rows / batch_size)),
        "patience": patience(epochs),
        **given,
    }
    return model.model_copy(update=network), ResolvedTrainConfig(**values)


def patience(epochs: int) -> int:
    """Return how many epochs without progress end training: a quarter, at least 5."""
    return max(epochs // 4, 5)


def ema_decay(steps: int) -> float:
    """Return the decay of averaged weights, or 0 if there are too few steps."""
    averaged = steps * AVERAGED_SHARE
    return round(1 - 1 / averaged, 4) if averaged >= MIN_AVERAGED_STEPS else 0.0


def _nearest(value: float, choices: range) -> int:
    """Return the number of an arithmetic progression that is nearest to a value."""
    place = round((value - choices.start) / choices.step)
    return choices[min(max(place, 0), len(choices) - 1)]
