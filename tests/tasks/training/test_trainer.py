"""Tests of the trainer of one rank."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ar_models.families.eonade import EoNADE
from ar_models.families.fvsbn import FVSBN
from ar_models.variables import binary_variables
from tasks.data.batches import Batch
from tasks.training import optimization, trainer
from tasks.training.trainer import Trainer
from tests.support.training import (
    STEPS,
    VARIABLES,
    all_weights,
    draw_rows,
    make_batches,
    make_trainer,
    spread,
    take_steps,
    train_config,
)


def test_learning_lowers_the_nll() -> None:
    learning = make_trainer(learning_rate=1e-2)
    held_out = draw_rows(200, seed=7)
    before = learning.nll([held_out]).sum()

    take_steps(learning, make_batches(0) + make_batches(1))

    assert learning.nll([held_out]).sum() < before - 1


def test_l1_makes_weights_that_tell_nothing_vanish() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(400, 6, generator=generator) < 0.5).float()
    x[:, 5] = x[:, 0]  # all that there is to be known
    sums = {}
    for l1 in (0.0, 0.05):
        config = train_config(learning_rate=0.02, l1=l1, epochs=1)
        learning = Trainer(
            FVSBN(binary_variables(6), FVSBN.Settings()), config, steps=400
        )
        for _ in range(400):
            learning.step(Batch(x, len(x)))
        model = learning.model.eval()
        (weight,) = optimization.linear_weights(model)
        told = model.log_prob(x).detach().mean() - 5 * math.log(0.5)
        sums[l1] = (weight.detach().abs() > 0.03).sum(), float(told)

    assert sums[0.0][0] > 10
    assert sums[0.05][0] == 1
    assert sums[0.05][1] > -0.5


def test_shares_of_a_batch_give_the_gradient_of_the_whole() -> None:
    x = draw_rows(11, seed=1)
    found = []
    for parts in ([x], [x[:3], x[3:]]):
        learning = make_trainer()
        learning.model.eval()
        learning.world = len(parts)
        for part in parts:
            # The average over the ranks, which the exchange takes.
            (learning.loss(Batch(part, len(x))) / len(parts)).backward()
        found.append([p.grad for p in learning.model.parameters()])

    torch.testing.assert_close(found[0], found[1])


def test_a_row_of_weight_zero_does_not_count() -> None:
    learning = make_trainer()

    learning.loss(Batch(draw_rows(1, seed=1), 3, weight=0.0)).backward()

    assert all(p.grad is None or not p.grad.any() for p in learning.model.parameters())


def trimmed(share: float) -> Trainer:
    """Return a trainer past its first epoch, without dropout."""
    learning = make_trainer(trim=share)
    learning.model.inner.dropout.p = 0.0
    learning.state.epoch, learning.state.step = 1, STEPS // 2
    return learning


def gradients(learning: Trainer, batch: Batch) -> list[Tensor | None]:
    """Return the gradients of the loss of a batch."""
    learning.model.zero_grad()
    learning.loss(batch).backward()
    return [p.grad for p in learning.model.parameters()]


def test_the_least_likely_rows_of_a_batch_teach_nothing() -> None:
    x = draw_rows(20, seed=1)
    x[[3, 11], 2] = 500.0
    others = torch.tensor([k for k in range(20) if k not in (3, 11)])

    found = gradients(trimmed(0.1), Batch(x, 20))

    expected = gradients(trimmed(0.0), Batch(x[others], 18))
    torch.testing.assert_close(found, expected)


def test_all_rows_teach_in_the_first_epoch() -> None:
    learning = trimmed(0.1)
    learning.state.epoch = 0
    assert learning.trimmed_rows(20) == 0
    learning.state.epoch = 1
    assert [learning.trimmed_rows(rows) for rows in (9, 10, 25)] == [0, 1, 2]
    learning.state.step = 0
    assert learning.trimmed_rows(20) == 0


def test_ranks_leave_out_the_least_likely_rows_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = draw_rows(11, seed=1)
    x[[1, 2], 2] = 500.0
    parts = [x[:5], x[5:]]
    whole = gradients(trimmed(0.2), Batch(x, 11))
    learning = trimmed(0.2)
    learning.world = 2

    def exchange(each: list[Tensor], mine: Tensor) -> None:
        shares = [learning.model.conditionals(p, 0).log_prob(p).sum(-1) for p in parts]
        for place, share in zip(each, shares, strict=True):
            place.fill_(math.inf)[: len(share)] = share.detach()
        assert any(torch.allclose(mine, place) for place in each)

    monkeypatch.setattr(trainer.dist, "all_gather", exchange)
    each = [gradients(learning, Batch(part, 11)) for part in parts]

    mean = [
        None if a is None or b is None else (a + b) / 2
        for a, b in zip(*each, strict=True)
    ]
    torch.testing.assert_close(mean, whole)


def test_trimmed_training_is_not_led_by_anomalies() -> None:
    clean, odd = draw_rows(400, seed=5), draw_rows(40, seed=6)
    odd[:, 2] = 60.0
    mixed = torch.cat([clean, odd])[torch.randperm(440)]
    nll = {}
    for share in (0.0, 0.15):
        learning = make_trainer(learning_rate=1e-2, trim=share)
        for _ in range(2):
            take_steps(learning, [Batch(part, len(part)) for part in mixed.split(40)])
            learning.end_epoch(learning.nll([clean]))
        nll[share] = [float(learning.nll([x]).sum()) for x in (clean, odd)]
    assert nll[0.15][0] < nll[0.0][0]
    assert nll[0.15][1] > nll[0.0][1] + 1


@pytest.fixture
def broken() -> Callable[[], Batch]:
    """Return a function that makes batches without a finite gradient."""
    x = draw_rows(8, seed=3)
    x[0, 2] = math.inf
    return lambda: Batch(x, 8)


def test_a_gradient_that_is_not_finite_changes_nothing(
    broken: Callable[[], Batch],
) -> None:
    some = make_batches()
    interrupted, smooth = make_trainer(ema_decay=0.9), make_trainer(ema_decay=0.9)
    take_steps(interrupted, some[:3])
    size = sum(p.numel() for p in smooth.model.parameters())
    before = all_weights(interrupted)[:size]

    interrupted.step(broken())

    torch.testing.assert_close(all_weights(interrupted)[:size], before, atol=0, rtol=0)
    assert interrupted.check_finite() == 1
    take_steps(interrupted, some[3:])
    assert all_weights(interrupted).isfinite().all()
    assert interrupted.end_epoch(spread(1.0))["train_nll"] < math.inf


def test_too_many_such_steps_end_the_training(broken: Callable[[], Batch]) -> None:
    learning = make_trainer(learning_rate=0.25)
    take_steps(learning, [broken() for _ in range(trainer.MAX_SKIPPED - 1)])
    assert learning.check_finite() == trainer.MAX_SKIPPED - 1

    learning.step(broken())

    with pytest.raises(
        FloatingPointError, match=r"lower train.learning_rate \(now 0.2"
    ):
        learning.check_finite()


def test_the_average_is_what_is_judged_and_kept() -> None:
    learning = make_trainer(ema_decay=0.5, learning_rate=1e-2)
    first = {n: p.detach().clone() for n, p in learning.eval_model.named_parameters()}
    average = first
    for batch in make_batches():
        learning.step(batch)
        done = learning.state.step
        decay = min(0.5, done / (9 + done))
        average = {
            n: decay * average[n] + (1 - decay) * p.detach()
            for n, p in learning.model.named_parameters()
        }
    learning.end_epoch(learning.nll([draw_rows(50, seed=9)]))

    for name, value in average.items():
        torch.testing.assert_close(learning.best[name], value)
    assert not torch.equal(learning.best["first.weight"], learning.model.first.weight)


def test_the_best_weights_are_kept_and_patience_ends() -> None:
    learning = make_trainer(patience=2)
    learning.config = learning.config.model_copy(update={"epochs": 9})
    kept = []
    for valid_nll in (3.0, 2.0, 2.5, math.nan):
        take_steps(learning, make_batches()[:2])
        learning.end_epoch(spread(valid_nll))
        kept.append(learning.best["first.weight"].clone())

    assert learning.state.stopped == "patience"
    assert learning.state.best_epoch == 2
    assert learning.state.best_nll == 2.0
    assert not torch.equal(kept[0], kept[1])
    assert torch.equal(kept[1], kept[3])


def test_epochs_end_the_training() -> None:
    learning = make_trainer()
    stopped = []
    for _ in range(2):
        take_steps(learning, make_batches())
        learning.end_epoch(spread(1.0 / (1 + learning.state.epoch)))
        stopped.append(learning.state.stopped)

    assert stopped == [None, "epochs"]


def test_a_record_is_in_nats_of_the_original_columns() -> None:
    learning = make_trainer(learning_rate=1e-9)
    some = make_batches()
    learning.model.orderings = 1
    learning.model.inner.dropout.p = 0.0
    learning.model.train()
    with torch.no_grad():
        expected = -torch.cat([learning.model(b.x) for b in some]).mean().item()

    take_steps(learning, some)
    record = learning.end_epoch(
        spread(4.0), log_abs_det={"train": 1.5, "valid": 0.0}, seconds=2.0
    )

    assert record["train_nll"] == pytest.approx(expected - 1.5, abs=1e-3)
    assert record["valid_nll"] == 4.0
    assert record["epoch"] == 1
    assert record["seconds"] > 2.0
    rows = sum(batch.rows for batch in some)
    assert record["rows_per_s"] == pytest.approx(rows / (record["seconds"] - 2.0))


def test_weights_are_judged_by_the_quick_estimate() -> None:
    torch.manual_seed(0)
    model = EoNADE(
        VARIABLES, EoNADE.Settings(hidden=16, layers=1, components=2, embedding=4)
    )
    learning = Trainer(model, train_config(epochs=1, precision="fp32"), steps=1)
    held_out = draw_rows(50, seed=7)

    nll = float(learning.nll([held_out]).sum())

    quick = -model.eval().estimate_variable_log_prob(held_out).sum(-1).mean().item()
    assert nll == pytest.approx(quick, abs=1e-5)
    assert nll != pytest.approx(-model.log_prob(held_out).mean().item(), abs=1e-4)
