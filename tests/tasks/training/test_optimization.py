"""Tests of learning rates, parameter groups and precision."""

import pytest
import torch

from tasks.config.train import TrainConfig
from tasks.training import optimization
from tests.support.training import draw_rows, make_batches, make_trainer, take_steps


def test_the_rate_rises_and_falls() -> None:
    config = TrainConfig(learning_rate=0.5, warmup_ratio=0.1)

    rates = [optimization.learning_rate(config, step, 100) for step in range(100)]

    assert rates[:10] == pytest.approx([0.05 * k for k in range(1, 11)])
    assert max(rates) == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_a_constant_rate_stays() -> None:
    config = TrainConfig(learning_rate=0.5, warmup_ratio=0.0, schedule="constant")

    assert {optimization.learning_rate(config, step, 9) for step in range(9)} == {0.5}


def test_biases_and_tables_do_not_decay() -> None:
    model = make_trainer().model
    linear, others = optimization.parameter_groups(model, 0.1)
    names = {p: n.rpartition(".")[2] for n, p in model.named_parameters()}

    assert {names[p] for p in linear["params"]} == {"weight"}
    assert {names[p] for p in others["params"]} == {"bias", "table"}
    assert (linear["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_training_with_bf16_ends_near_training_with_fp32() -> None:
    ends = []
    for precision in ("fp32", "bf16"):
        learning = make_trainer(learning_rate=1e-2)
        learning.autocast = optimization.autocast_dtype(precision, torch.device("cpu"))
        take_steps(learning, make_batches(0) + make_batches(1))
        ends.append(float(learning.nll([draw_rows(200, seed=7)]).sum()))

    assert ends[0] != ends[1]
    assert ends[0] == pytest.approx(ends[1], abs=0.1)
