"""What is particular to images."""

import itertools
import math

import pytest
import torch

from ar_models.families import pixelcnn
from ar_models.families.base import ancestral_sample
from ar_models.families.pixelcnn import PixelCNN
from ar_models.variables import Variable, binary_variables
from tests.support.models import check_gradients, draw, perturbed

PIXELS = {
    "binary": Variable("x", "binary", 0, size=2),
    "categorical": Variable("x", "categorical", 0, size=256),
    "integer": Variable(
        "x", "integer", 0, location=128.0, scale=64.0, lower=0.0, upper=255.0
    ),
}

SIZES = [(4, 5, 1), (3, 4, 3)]


def pixels(kind: str, count: int) -> tuple[Variable, ...]:
    """Return a number of variables of one kind."""
    fields = PIXELS[kind].to_dict()
    return tuple(
        Variable.from_dict({**fields, "name": f"x{i}", "group": i})
        for i in range(count)
    )


def build(
    kind: str, size: tuple[int, int, int], spread: float = 0.3, **settings: int
) -> PixelCNN:
    """Return a small model whose weights are far from zero."""
    names = ("height", "width", "channels")
    small = {"hidden": 9, "layers": 5, "kernel": 3, "components": 2}
    small |= dict(zip(names, size, strict=True)) | settings
    return perturbed("pixelcnn", pixels(kind, math.prod(size)), spread, **small)


every_kind = pytest.mark.parametrize("kind", PIXELS)
every_size = pytest.mark.parametrize("size", SIZES, ids=str)


@every_kind
@every_size
def test_a_pixel_sees_all_before_it_and_nothing_else(
    kind: str, size: tuple[int, int, int]
) -> None:
    model = build(kind, size)
    x, other = draw(model, 64), draw(model, 64, seed=1)
    before = model.conditionals(x)
    owner = before.layout.variable_index
    for i in range(model.dim):
        changed = x.clone()
        changed[:, i] = other[:, i]
        moved = (model.conditionals(changed).parameters != before.parameters).any(0)
        assert owner[moved].unique().tolist() == list(range(i + 1, model.dim)), i


@every_kind
@every_size
def test_draws_equal_the_plain_sampler(kind: str, size: tuple[int, int, int]) -> None:
    model = build(kind, size).double()
    noise = torch.rand(16, model.dim, 2).double()
    given = torch.full((16, model.dim), math.nan).double()
    given[8:, :7] = draw(model, 8)[:, :7]

    drawn = model.draw(noise, given)

    torch.testing.assert_close(drawn, ancestral_sample(model, noise, given))
    assert torch.equal(drawn[8:, :7], given[8:, :7])


def test_draws_in_parts_that_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("binary", (4, 5, 1)).double()
    whole = draw(model, 30)
    monkeypatch.setattr(pixelcnn, "CACHE_BYTES", 100_000)

    assert torch.equal(draw(model, 30), whole)


@pytest.mark.parametrize("size", [(3, 3, 1), (1, 3, 3)], ids=str)
def test_probabilities_sum_to_one(size: tuple[int, int, int]) -> None:
    model = build("binary", size)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)))

    total = model.log_prob(every).logsumexp(0)

    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_sample_frequencies_follow_the_probabilities() -> None:
    # Chi-square with 63 degrees of freedom: above 140 with odds of 1e-7.
    model = build("binary", (2, 3, 1), spread=0.15)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    count = 20_000

    x = draw(model, count)

    observed = (x[:, None] == every).all(-1).sum(0)
    expected = model.log_prob(every).exp().detach() * count
    assert float(expected.min()) > 5
    assert float(((observed - expected).square() / expected).sum()) < 140


@every_kind
def test_every_parameter_gets_a_gradient(kind: str) -> None:
    model = build(kind, (3, 4, 3))
    x = draw(model, 32)
    check_gradients(model, x)


@every_kind
def test_bf16_changes_the_log_probability_little(kind: str) -> None:
    model = build(kind, (4, 5, 1), spread=0.1)
    x = draw(model, 64)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.variable_log_prob(x)

    assert rough.dtype == torch.float32
    off = (rough - model.variable_log_prob(x)).abs().detach()
    assert float(off.mean()) < 0.03


def test_a_fresh_model_gives_the_marginal_distributions() -> None:
    variables = tuple(
        Variable(f"x{i}", "binary", i, size=2, frequencies=(1 - p, p))
        for i, p in enumerate((0.1, 0.3, 0.5, 0.9))
    )
    torch.manual_seed(0)
    model = PixelCNN(variables, PixelCNN.Settings(height=2, width=2))

    one = torch.tensor([0.1, 0.3, 0.5, 0.9])
    x = torch.bernoulli(one.expand(50, 4))
    by_hand = torch.where(x == 1, one, 1 - one).log()
    torch.testing.assert_close(
        model.conditionals(x).log_prob(x).detach(), by_hand, atol=0.1, rtol=0
    )


def test_learning_finds_stripes() -> None:
    # Rows are all 0 or all 1: log 2 nats each, that is 4 log 2 an image.
    torch.manual_seed(0)
    x = torch.randint(0, 2, (256, 4)).repeat_interleave(4, 1).float()
    model = PixelCNN(
        binary_variables(16),
        PixelCNN.Settings(height=4, width=4, hidden=8, layers=1, kernel=3),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nll = -model(x).mean()
        nll.backward()
        optimizer.step()

    assert nll.item() == pytest.approx(4 * math.log(2), abs=0.1)


def test_features_average_the_maps_over_a_grid() -> None:
    model = build("binary", (5, 6, 1))
    x, other = draw(model, 64), draw(model, 64, seed=1)
    before = model.features(x)
    assert before.shape == (64, 2 * 9 * 4 * 4)
    for i in range(model.dim):
        changed = torch.where(torch.arange(model.dim) == i, other, x)
        assert not torch.equal(model.features(changed), before), i


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="has 6 variables, got 5; for table rows"):
        PixelCNN(binary_variables(5), PixelCNN.Settings(height=2, width=3))
    mixed = (*pixels("binary", 3), Variable("y", "categorical", 3, size=3))
    with pytest.raises(ValueError, match=r"got x0 \(binary, 2 codes\) and y"):
        PixelCNN(mixed, PixelCNN.Settings(height=2, width=2))
    state = Variable("s", "binary", 0, size=2)
    child = Variable("t", "binary", 0, size=2, parent=0)
    with pytest.raises(ValueError, match="t depends on s for its presence"):
        PixelCNN((state, child), PixelCNN.Settings(height=1, width=2))


def test_an_even_kernel_is_refused() -> None:
    settings = PixelCNN.Settings(height=2, width=2, kernel=4)
    with pytest.raises(ValueError, match="kernel odd, got 64 and 4"):
        PixelCNN(binary_variables(4), settings)
