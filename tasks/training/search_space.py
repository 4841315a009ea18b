"""The settings among which tuning searches."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ar_models.families.settings import SETTINGS
from tasks.config.model import ModelConfig, model_config
from tasks.config.section import AUTO
from tasks.config.train import ResolvedTrainConfig, TrainConfig
from tasks.training import defaults

FACTORS = (0.5, 1.0, 2.0)
"""Multiples of the automatic width and batch size that are tried."""

STREAM_WIDTHS = (64, 128, 256)
"""Widths that are tried for families without an automatic one."""

Draw = Callable[[np.random.Generator], Any]  # returns a JSON value
Settings = tuple[ModelConfig, ResolvedTrainConfig]
"""Settings of one trial, without `auto`."""


def draw_trials(
    model: ModelConfig,
    training: TrainConfig,
    families: Sequence[str],
    count: int,
    *,
    rows: int,
    columns: int,
    seed: int = 0,
) -> list[Settings]:
    """Draw the settings of all trials; the first trial has those of the configuration.

    Width, depth, number of mixture components, ordering, dropout, learning rate, batch
    size, weight decay and swap noise are drawn independently of each other. A key that
    the configuration sets to something other than `auto` stays as it is.

    Args:
        model: Configuration of the network.
        training: Configuration of training.
        families: Families that are tried beside that of `model`.
        count: Number of trials.
        rows: Number of training rows.
        columns: Number of modelled columns.
        seed: Seed of the draws; the first trials do not depend on their number.
    """
    found = [defaults.resolve(model, training, rows, columns)]
    every = list(dict.fromkeys([model.family, *families]))
    chosen = {key: each.value for key, each in defaults.choose(rows, columns).items()}
    for number in range(1, count):
        rng = np.random.default_rng([seed, number])
        family = every[int(rng.integers(len(every)))]
        given = fixed(model) if family == model.family else {}
        space = model_space(family, chosen)
        drawn = {key: draw(rng) for key, draw in space.items()}
        network = model_config(**{"family": family, **drawn, **given})
        space = training_space(chosen)
        drawn = {key: draw(rng) for key, draw in space.items()}
        step = TrainConfig(**{**training.model_dump(), **drawn, **fixed(training)})
        found.append(defaults.resolve(network, step, rows, columns))
    return found


def fixed(section: ModelConfig | TrainConfig) -> dict[str, Any]:  # JSON values
    """Return the keys of a section that the configuration file sets to a value."""
    values = section.model_dump(mode="json", exclude_unset=True)
    return {key: value for key, value in values.items() if value != AUTO}


def model_space(family: str, chosen: Mapping[str, float]) -> dict[str, Draw]:
    """Return how the settings of a family are drawn, by key.

    Args:
        family: Name of the family.
        chosen: Automatic settings by dotted key.
    """
    automatic = [_rounded(f * chosen["model.hidden"], 64) for f in FACTORS]
    widths = STREAM_WIDTHS if family in ("transformer", "rnn") else automatic
    depths = (2, 3, 4) if family == "transformer" else (1, 2, 3)
    space: dict[str, Draw] = {
        "hidden": _choice(widths),
        "layers": _choice(depths),
        "components": _choice((4, 8, 16)),
        "dropout": _choice((0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        "ordering": _choice(("auto", "natural", "dependence")),
    }
    if family == "eonade":
        del space["ordering"]  # Training covers all orderings.
    known = {each.name for each in fields(SETTINGS[family])}
    return {key: draw for key, draw in space.items() if key in known}


def training_space(chosen: Mapping[str, float]) -> dict[str, Draw]:
    """Return how the settings of training are drawn, by key.

    Args:
        chosen: Automatic settings by dotted key.
    """
    sizes = [_rounded(f * chosen["train.batch_size"], 8) for f in FACTORS]
    return {
        "learning_rate": _log_uniform(5e-4, 8e-3),
        "batch_size": _choice(sizes),
        "weight_decay": _log_uniform(1e-5, 1e-1),
        "swap_noise": _choice((0.0, 0.0, 0.05, 0.1)),
    }


def _choice(values: Sequence[Any]) -> Draw:  # JSON values
    return lambda rng: values[int(rng.integers(len(values)))]


def _log_uniform(low: float, high: float) -> Draw:
    def draw(rng: np.random.Generator) -> float:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
        return float(f"{value:.2g}")

    return draw


def _rounded(value: float, multiple: int) -> int:
    return max(round(value / multiple), 1) * multiple
