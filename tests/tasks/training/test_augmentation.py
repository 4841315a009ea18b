"""Rows made noisy stay rows, and what is learned from them is smoother."""

import math

import torch
from torch import Tensor

from ar_models.families.made import MADE
from ar_models.variables import Variable
from tasks.data.batches import Batch
from tasks.training.augmentation import Augmentation
from tasks.training.trainer import Trainer, train_epoch
from tests.support.training import train_config

VARIABLES = (
    Variable("a.state", "categorical", group=0, size=2),
    Variable("a", "real", group=0, parent=0, scale=3.0),
    Variable("b", "integer", group=1, scale=4.0, lower=0.0, upper=9.0),
    Variable("c", "categorical", group=2, size=5),
)


def draw(rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    state = torch.randint(0, 2, (rows,), generator=generator).float()
    real = torch.randn(rows, generator=generator).where(state == 0, math.nan)
    count = torch.randint(0, 10, (rows,), generator=generator).float()
    code = torch.randint(0, 5, (rows,), generator=generator).float()
    return torch.stack([state, real, count, code], dim=1)


def smooth(x: Tensor, noise: float = 0.0, swap_noise: float = 0.0) -> Tensor:
    torch.manual_seed(1)
    return Augmentation(VARIABLES, noise, swap_noise, torch.device("cpu"))(x)


def test_noise_moves_numbers_by_a_share_of_their_scale() -> None:
    x = draw(20_000)

    noisy = smooth(x, noise=0.5)

    assert torch.equal(noisy[:, [0, 3]], x[:, [0, 3]])
    assert torch.equal(noisy.isnan(), x.isnan())
    change = (noisy - x)[:, 1]
    assert abs(float(change[~change.isnan()].std()) - 1.5) < 0.05
    whole = noisy[:, 2]
    assert torch.equal(whole, whole.round())
    assert float(whole.min()) == 0 and float(whole.max()) == 9
    assert float((whole != x[:, 2]).float().mean()) > 0.5


def test_columns_mutate_as_a_whole_into_those_of_other_rows() -> None:
    x = draw(20_000)

    mutated = smooth(x, swap_noise=0.2)

    assert torch.equal(mutated[:, 1].isnan(), mutated[:, 0] == 1)
    share = float((mutated[:, 2] != x[:, 2]).float().mean())
    assert abs(share - 0.2 * 0.9) < 0.01
    known = {float(v) for v in x[:, 1] if not v.isnan()}
    assert {float(v) for v in mutated[:, 1] if not v.isnan()} <= known


def test_a_seed_fixes_the_noise() -> None:
    x = draw(50)
    assert torch.equal(
        smooth(x, 0.3, 0.2).nan_to_num(), smooth(x, 0.3, 0.2).nan_to_num()
    )


def surprisals(noise: float, x: Tensor, odd: Tensor) -> tuple[float, float]:
    """Return the mean surprisal of ordinary rows and the least of odd ones, in nats."""
    torch.manual_seed(0)
    variables = [Variable(n, "real", g) for g, n in enumerate("ab")]
    model = MADE(variables, MADE.Settings(hidden=32, layers=1, components=2))
    config = train_config(
        epochs=3, learning_rate=1e-2, noise=noise, precision="fp32", patience=3
    )
    trainer = Trainer(model, config, steps=150)
    for _ in range(3):
        train_epoch(trainer, (Batch(x, len(x)) for _ in range(50)), lambda: False)
        trainer.end_epoch(trainer.nll([x]))
    model.eval()
    with torch.no_grad():
        return -float(model.log_prob(x).mean()), -float(model.log_prob(odd).max())


def test_an_exact_dependence_does_not_run_the_show() -> None:
    torch.manual_seed(0)
    a = torch.randn(500)
    x = torch.stack([a, a], 1)
    # As far from the line as the scale of the noise, where rows are many.
    odd = torch.tensor([[0.0, 0.2]])

    exact, smooth_one = surprisals(0.0, x, odd), surprisals(0.2, x, odd)

    assert exact[1] - exact[0] > 4 * (smooth_one[1] - smooth_one[0])
    assert smooth_one[1] - smooth_one[0] < 4
