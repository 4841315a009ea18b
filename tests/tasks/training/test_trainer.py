import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ar_models.families.eonade import EoNADE
from ar_models.families.fvsbn import FVSBN
from ar_models.families.made import MADE
from ar_models.variables import Variable, binary_variables
from tasks.config.train import TrainConfig
from tasks.data.batches import Batch
from tasks.training import optimization, trainer
from tasks.training.trainer import Trainer

VARIABLES = (
    Variable("state", "categorical", group=0, size=3),
    Variable("amount", "real", group=0, parent=0, knots=(-2.0, 0.0, 2.0)),
    Variable("count", "integer", group=1, scale=3.0, lower=0.0, atoms=(0.0,)),
    Variable("word", "categorical", group=2, size=100),
)
STEPS = 24


def make(seed: int = 0, **config: Any) -> Trainer:
    """A learner with a small model that uses dropout and orderings."""
    torch.manual_seed(seed)
    model = MADE(
        VARIABLES,
        MADE.Settings(
            hidden=16,
            layers=1,
            components=2,
            embedding=4,
            dropout=0.2,
            orderings=2,
            ordering="random",
        ),
    )
    return Trainer(
        model, TrainConfig(epochs=2, precision="fp32", **config), steps=STEPS
    )


def draw(rows: int, seed: int) -> Tensor:
    """Rows in which word goes with state and amount is often absent."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.randint(0, 3, (rows,), generator=generator).float()
    amount = torch.randn(rows, generator=generator).where(state == 0, torch.nan)
    count = torch.randint(0, 9, (rows,), generator=generator).float()
    return torch.stack([state, amount, count, 10 * state], dim=1)


def batches(epoch: int = 0) -> list[Batch]:
    """Half of the planned steps; the last batch is shorter."""
    sizes = [32] * (STEPS // 2 - 1) + [5]
    return [
        Batch(draw(size, seed=100 * epoch + i), size) for i, size in enumerate(sizes)
    ]


def steps(learning: Trainer, some: list[Batch]) -> None:
    trainer.train_epoch(learning, some, lambda: False)


def weights(learning: Trainer) -> Tensor:
    """All weights, those of the average too."""
    return torch.cat(
        [
            p.detach().flatten()
            for model in (learning.model, learning.eval_model)
            for p in model.parameters()
        ]
    )


def test_learning_lowers_the_nll() -> None:
    learning = make(learning_rate=1e-2)
    held_out = draw(200, seed=7)
    before = learning.nll([held_out])

    steps(learning, batches(0) + batches(1))

    assert learning.nll([held_out]) < before - 1


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
    model = make().model
    linear, others = optimization.parameter_groups(model, 0.1)
    names = {p: n.rpartition(".")[2] for n, p in model.named_parameters()}

    assert {names[p] for p in linear["params"]} == {"weight"}
    assert {names[p] for p in others["params"]} == {"bias", "table"}
    assert (linear["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_l1_makes_weights_that_tell_nothing_vanish() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(400, 6, generator=generator) < 0.5).float()
    x[:, 5] = x[:, 0]  # all that there is to be known
    sums = {}
    for l1 in (0.0, 0.05):
        config = TrainConfig(learning_rate=0.02, l1=l1, epochs=1)
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
    x = draw(11, seed=1)
    found = []
    for parts in ([x], [x[:3], x[3:]]):
        learning = make()
        learning.model.eval()
        learning.world = len(parts)
        for part in parts:
            # The average over the ranks, which the exchange takes.
            (learning.loss(Batch(part, len(x))) / len(parts)).backward()
        found.append([p.grad for p in learning.model.parameters()])

    torch.testing.assert_close(found[0], found[1])


def test_a_row_of_weight_zero_does_not_count() -> None:
    learning = make()

    learning.loss(Batch(draw(1, seed=1), 3, weight=0.0)).backward()

    assert all(p.grad is None or not p.grad.any() for p in learning.model.parameters())


def trimmed(share: float) -> Trainer:
    """A learner past its first epoch, without dropout."""
    learning = make(trim=share)
    learning.model.inner.dropout.p = 0.0
    learning.state.epoch, learning.state.step = 1, STEPS // 2
    return learning


def gradients(learning: Trainer, batch: Batch) -> list[Tensor | None]:
    """Of the loss of a batch."""
    learning.model.zero_grad()
    learning.loss(batch).backward()
    return [p.grad for p in learning.model.parameters()]


def test_the_least_likely_rows_of_a_batch_teach_nothing() -> None:
    x = draw(20, seed=1)
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
    x = draw(11, seed=1)
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
    clean, odd = draw(400, seed=5), draw(40, seed=6)
    odd[:, 2] = 60.0
    mixed = torch.cat([clean, odd])[torch.randperm(440)]
    nll = {}
    for share in (0.0, 0.15):
        learning = make(learning_rate=1e-2, trim=share)
        for _ in range(2):
            steps(learning, [Batch(part, len(part)) for part in mixed.split(40)])
            learning.end_epoch(learning.nll([clean]))
        nll[share] = learning.nll([clean]), learning.nll([odd])
    assert nll[0.15][0] < nll[0.0][0]
    assert nll[0.15][1] > nll[0.0][1] + 1


@pytest.mark.parametrize("stop", [5, 12, 17])
def test_a_checkpoint_goes_on_to_the_same_weights(tmp_path: Path, stop: int) -> None:
    config = {"ema_decay": 0.9, "learning_rate": 1e-2}
    half = STEPS // 2
    plan = [batches(0), batches(1)]

    def run(learning: Trainer) -> Iterator[None]:
        while learning.state.stopped is None:
            for batch in plan[learning.state.epoch][learning.state.batch :]:
                learning.step(batch)
                if learning.state.batch < half:
                    yield
            learning.end_epoch(learning.nll([draw(50, seed=9)]))
            yield

    whole, first, second = make(**config), make(**config), make(seed=1, **config)
    list(run(whole))
    for _, _ in zip(range(stop), run(first), strict=False):
        pass
    first.save(tmp_path)
    second.load(tmp_path)
    list(run(second))

    torch.testing.assert_close(weights(second), weights(whole), atol=0, rtol=0)
    torch.testing.assert_close(second.best, whole.best, atol=0, rtol=0)
    for key in ("train_nll", "valid_nll", "learning_rate"):
        assert [r[key] for r in second.state.history] == [
            r[key] for r in whole.state.history
        ]


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    learning = make(ema_decay=0.5)
    learning.step(batches()[0])

    learning.save(tmp_path)

    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_another_number_of_ranks_takes_over_all_sums(tmp_path: Path) -> None:
    learning = make()
    for rank, total in enumerate([1.5, 2.0, 4.0]):
        learning.rank, learning.sums[0] = rank, total
        learning.save(tmp_path)
    loaded = []
    for rank in range(2):
        other = make()
        other.rank, other.world = rank, 2
        other.load(tmp_path)
        loaded.append(float(other.sums[0]))

    assert loaded == [5.5, 2.0]


@pytest.fixture
def broken() -> Callable[[], Batch]:
    """Makes batches that give no finite gradient."""
    x = draw(8, seed=3)
    x[0, 2] = math.inf
    return lambda: Batch(x, 8)


def test_a_gradient_that_is_not_finite_changes_nothing(
    broken: Callable[[], Batch],
) -> None:
    some = batches()
    interrupted, smooth = make(ema_decay=0.9), make(ema_decay=0.9)
    steps(interrupted, some[:3])
    before = weights(interrupted)[: sum(p.numel() for p in smooth.model.parameters())]

    interrupted.step(broken())

    after = weights(interrupted)[: len(before)]
    torch.testing.assert_close(after, before, atol=0, rtol=0)
    assert interrupted.check_finite() == 1
    steps(interrupted, some[3:])
    assert weights(interrupted).isfinite().all()
    assert interrupted.end_epoch(1.0)["train_nll"] < math.inf


def test_too_many_such_steps_end_the_training(broken: Callable[[], Batch]) -> None:
    learning = make(learning_rate=0.25)
    steps(learning, [broken() for _ in range(trainer.MAX_SKIPPED - 1)])
    assert learning.check_finite() == trainer.MAX_SKIPPED - 1

    learning.step(broken())

    with pytest.raises(
        FloatingPointError, match=r"lower train.learning_rate \(now 0.2"
    ):
        learning.check_finite()


def test_the_average_is_what_is_judged_and_kept() -> None:
    learning = make(ema_decay=0.5, learning_rate=1e-2)
    first = {n: p.detach().clone() for n, p in learning.eval_model.named_parameters()}
    average = first
    for batch in batches():
        learning.step(batch)
        done = learning.state.step
        decay = min(0.5, done / (9 + done))
        average = {
            n: decay * average[n] + (1 - decay) * p.detach()
            for n, p in learning.model.named_parameters()
        }
    learning.end_epoch(learning.nll([draw(50, seed=9)]))

    for name, value in average.items():
        torch.testing.assert_close(learning.best[name], value)
    assert not torch.equal(learning.best["first.weight"], learning.model.first.weight)


def test_the_best_weights_are_kept_and_patience_ends() -> None:
    learning = make(patience=2)
    learning.config = learning.config.model_copy(update={"epochs": 9})
    kept = []
    for valid_nll in (3.0, 2.0, 2.5, math.nan):
        steps(learning, batches()[:2])
        learning.end_epoch(valid_nll)
        kept.append(learning.best["first.weight"].clone())

    assert learning.state.stopped == "patience"
    assert learning.state.best_epoch == 2
    assert learning.state.best_nll == 2.0
    assert not torch.equal(kept[0], kept[1])
    assert torch.equal(kept[1], kept[3])


def test_epochs_end_the_training() -> None:
    learning = make()
    stopped = []
    for _ in range(2):
        steps(learning, batches())
        learning.end_epoch(1.0 / (1 + learning.state.epoch))
        stopped.append(learning.state.stopped)

    assert stopped == [None, "epochs"]


def test_a_record_is_in_nats_of_the_original_columns() -> None:
    learning = make(learning_rate=1e-9)
    some = batches()
    learning.model.orderings = 1
    learning.model.inner.dropout.p = 0.0
    learning.model.train()
    with torch.no_grad():
        expected = -torch.cat([learning.model(b.x) for b in some]).mean().item()

    steps(learning, some)
    record = learning.end_epoch(4.0, log_abs_det=1.5, seconds=2.0)

    assert record["train_nll"] == pytest.approx(expected - 1.5, abs=1e-3)
    assert record["valid_nll"] == 4.0
    assert record["epoch"] == 1
    assert record["seconds"] > 2.0
    rows = sum(batch.rows for batch in some)
    assert record["rows_per_s"] == pytest.approx(rows / (record["seconds"] - 2.0))


def test_training_with_bf16_ends_near_training_with_fp32() -> None:
    ends = []
    for precision in ("fp32", "bf16"):
        learning = make(learning_rate=1e-2)
        learning.autocast = optimization.autocast_dtype(precision, torch.device("cpu"))
        steps(learning, batches(0) + batches(1))
        ends.append(learning.nll([draw(200, seed=7)]))

    assert ends[0] != ends[1]
    assert ends[0] == pytest.approx(ends[1], abs=0.1)


def test_weights_are_judged_by_the_quick_estimate() -> None:
    torch.manual_seed(0)
    model = EoNADE(
        VARIABLES, EoNADE.Settings(hidden=16, layers=1, components=2, embedding=4)
    )
    learning = Trainer(model, TrainConfig(epochs=1, precision="fp32"), steps=1)
    held_out = draw(50, seed=7)

    nll = learning.nll([held_out])

    quick = -model.eval().estimate_log_prob(held_out).mean().item()
    assert nll == pytest.approx(quick, abs=1e-5)
    assert nll != pytest.approx(-model.log_prob(held_out).mean().item(), abs=1e-4)
