"""What is particular to the masked network."""

import copy
import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families import made_sampling
from ar_models.families.base import ancestral_sample
from ar_models.families.made import MADE
from ar_models.kernels.compiled import jit
from ar_models.layers import masked_linear
from ar_models.layers.masked_linear import BlockTriangularWeight, ColumnPermutation
from ar_models.variables import Variable, binary_variables

MIXED = (
    Variable("a.state", "categorical", 0, size=3),
    Variable("a", "real", 0, parent=0, knots=(-2.0, -1.0, 0.0, 1.0, 2.0)),
    Variable("b", "integer", 1, atoms=(0.0, 1.0), lower=0.0, scale=3.0),
    Variable("c", "categorical", 2, size=80),
    *(Variable(f"x{i}", "binary", 3 + i, size=2) for i in range(20)),
)


def randomized(model: MADE) -> MADE:
    """Return the model with random weights, in eval mode."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        wide = parameter.dim() > 1
        nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5 if wide else 1)
    return model.eval()


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 7},
        {"hidden": 300, "layers": 1},
        {"hidden": 300, "layers": 3, "residual": False},
        {"hidden": 300, "layers": 1, "residual": False},
        {"hidden": 90, "ordering": "random", "orderings": 2},
        {"hidden": 90, "ordering": "random", "orderings": 2, "masks": 2},
        {"hidden": 90, "layers": 2, "residual": False, "direct": True, "masks": 2},
    ],
)
def test_draws_equal_the_plain_sampler(settings: dict[str, Any]) -> None:
    model = randomized(
        MADE(MIXED, MADE.Settings(components=3, embedding=4, **settings))
    ).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(50, model.dim, 2, generator=generator, dtype=torch.float64)
    given = torch.full((50, model.dim), math.nan, dtype=torch.float64)

    for which in range(model.orderings):
        drawn = model.draw(noise, given, which)
        plain = ancestral_sample(model, noise, given, which)
        torch.testing.assert_close(drawn, plain, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 7},
        {"hidden": 150, "layers": 1},
        {"hidden": 150, "layers": 3, "residual": False},
        {"hidden": 150, "layers": 1, "residual": False, "direct": True},
        {"hidden": 90, "ordering": "random", "orderings": 2, "masks": 2},
    ],
)
def test_the_compiled_loop_draws_what_the_plain_sampler_draws(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_sampling, "MIN_COMPILED_VALUES", 0)
    monkeypatch.setattr(made_sampling, "COMPILED_ROWS", 300)
    drawn_by_loop = []
    loop = made_sampling.sample_block

    def counted(*arguments: Any) -> None:
        drawn_by_loop.append(arguments[-1])
        loop(*arguments)

    monkeypatch.setattr(made_sampling, "sample_block", counted)
    model = randomized(MADE(binary_variables(40), MADE.Settings(**settings)))
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(700, 40, 2, generator=generator)
    noise[0, :, 0] = 0
    given = torch.full((700, 40), math.nan)
    given[:, 3] = (noise[:, 3, 1] > 0.5).float()
    given[::2, 20] = 1.0

    for which in range(model.orderings):
        for known in (None, given):
            for sampling in (EXACT_SAMPLING, SamplingParams(temperature=0.5)):
                drawn = model.draw(noise, known, which, sampling)
                plain = ancestral_sample(model, noise, known, which, sampling)
                assert torch.equal(drawn, plain)
    assert sum(x.size for x in drawn_by_loop) == 700 * 40 * 4 * model.orderings


def test_code_that_has_no_place_on_disk_is_compiled_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec("def double(x):\n    x[0] *= 2", names)
    x = np.ones(1)

    jit(names["double"])(x)

    assert x[0] == 2


def test_each_mask_is_a_density_that_sees_no_future() -> None:
    model = randomized(
        MADE(binary_variables(6), MADE.Settings(hidden=40, masks=3, direct=True))
    )
    events = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))

    with torch.no_grad():
        each = [model.conditionals(events, k).log_prob(events) for k in range(3)]
        mean = model.log_prob(events)

    assert model.orderings == 3
    for one in each:
        assert float(one.sum(-1).exp().sum()) == pytest.approx(1, abs=1e-5)
        for i in range(6):  # rows that begin alike stand together
            alike = one[:, i].reshape(2 ** (i + 1), -1)
            assert bool((alike == alike[:, :1]).all())
    assert not torch.equal(each[0], each[1])
    together = torch.stack(each).sum(-1).logsumexp(0) - math.log(3)
    torch.testing.assert_close(mean, together)
    rebuilt = MADE(binary_variables(6), MADE.Settings(**model.config()))
    rebuilt.load_state_dict(model.state_dict())
    torch.testing.assert_close(rebuilt.eval().log_prob(events), mean)


def test_a_new_model_is_near_the_marginals() -> None:
    frequencies = (0.7, 0.2, 0.1)
    variables = (
        Variable("a", "categorical", 0, size=3, frequencies=frequencies),
        Variable("b", "binary", 1, size=2, frequencies=(0.9, 0.1)),
    )
    model = MADE(variables, MADE.Settings(hidden=64))
    x = torch.tensor([[k, 1.0] for k in range(3)])

    expected = torch.tensor(frequencies).log() + math.log(0.1)

    torch.testing.assert_close(model.log_prob(x), expected, atol=0.05, rtol=0)


def test_kept_masked_weights_follow_every_change() -> None:
    model = randomized(MADE(binary_variables(5), MADE.Settings(hidden=30)))
    other = randomized(MADE(binary_variables(5), MADE.Settings(hidden=30)))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    x = model.sample(20)

    def fresh() -> torch.Tensor:
        return copy.deepcopy(model).log_prob(x)  # with gradients nothing is kept

    def agree() -> bool:
        with torch.no_grad():
            return torch.allclose(model.log_prob(x), fresh(), atol=1e-6)

    assert agree()
    model.load_state_dict(other.state_dict())
    assert agree()
    model.first.weight.data.mul_(2)
    model.train()
    model.eval()
    assert agree()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.log_prob(x).sum().backward()
    optimizer.step()
    assert agree()
    model.double()
    x = x.double()
    assert agree()


@pytest.mark.parametrize("ordering", ["natural", "random"])
@pytest.mark.parametrize("blocks", [3, 4])
def test_without_most_zeros_the_products_are_the_same(
    blocks: int, ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = randomized(
        MADE(MIXED, MADE.Settings(hidden=50, direct=True, ordering=ordering))
    )
    x = model.sample(20)
    dense = model.log_prob(x)
    monkeypatch.setattr(masked_linear, "MIN_BLOCKED_WEIGHTS", 1)
    monkeypatch.setattr(masked_linear, "OUTPUT_BLOCKS", blocks)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), dense, atol=1e-5, rtol=1e-6)
        kept = model.last.masked(*degrees_of(model), 0)
    assert isinstance(kept, BlockTriangularWeight)
    assert sum(w.numel() for w in kept.weights) < model.last.weight.numel()


def test_products_without_zeros_are_in_the_type_of_an_autocast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masked_linear, "MIN_BLOCKED_WEIGHTS", 1)
    model = randomized(MADE(MIXED, MADE.Settings(hidden=50))).eval()
    x = model.sample(20)

    def parameters(rough: bool) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=rough):
            return model.conditionals(x).parameters

    exact, rough, again = parameters(False), parameters(True), parameters(False)

    assert torch.equal(exact, again)
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.bfloat16().float())
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "places",
    [list(range(20, 40)) + list(range(20)), [*range(40)][::-1], [*range(40)]],
)
def test_columns_are_put_in_order(places: list[int]) -> None:
    x = torch.randn(3, 40)
    order = ColumnPermutation.of(torch.tensor(places))

    assert bool(order.runs) == (places[0] < 39)
    assert torch.equal(order.permute(x), x[:, places])
    assert order.permute(x).is_contiguous()
    assert ColumnPermutation.of(None).permute(x) is x


def degrees_of(model: MADE) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the last map's inputs and outputs."""
    return model.degrees_of(0), model.ordering(0).argsort()[model.layout.variable_index]


def test_a_pickled_model_computes_the_same() -> None:
    model = randomized(MADE(MIXED, MADE.Settings(hidden=50)))
    x = model.sample(20)
    with torch.inference_mode():
        expected = model.log_prob(x)

        again = pickle.loads(pickle.dumps(model))

        assert torch.equal(again.log_prob(x), expected)


def test_gradients_flow_after_inference() -> None:
    model = randomized(MADE(binary_variables(5), MADE.Settings(hidden=30)))
    with torch.inference_mode():
        x = model.sample(20)
        model.log_prob(x)
    model.requires_grad_(False)
    model.last.bias.requires_grad_()

    model.log_prob(x.clone()).sum().backward()

    assert model.last.bias.grad is not None
    assert bool(model.last.bias.grad.any())


def test_dropout_acts_in_train_mode_only() -> None:
    model = randomized(MADE(binary_variables(5), MADE.Settings(hidden=30, dropout=0.5)))
    x = model.sample(20)

    assert torch.equal(model.log_prob(x), model.log_prob(x))
    model.train()
    assert not torch.equal(model.log_prob(x), model.log_prob(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"orderings": 2}, "'natural' is one ordering"),
        ({"ordering": "shuffled"}, "'natural', 'random' or sequences"),
        ({"ordering": [[0, 1, 1]]}, "each group of \\[0, 1, 2\\] once"),
        (
            {"ordering": [[0, 1, 2]], "orderings": 2},
            "orderings is 2, but ordering has 1",
        ),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MADE(binary_variables(3), MADE.Settings(**settings))


def test_given_variables_choose_a_fitting_ordering() -> None:
    model = MADE(
        binary_variables(3),
        MADE.Settings(hidden=30, ordering=[[0, 1, 2], [2, 1, 0]], orderings=2),
    )
    given = torch.full((50, 3), math.nan)
    given[:, 2] = 1

    x = randomized(model).sample(50, given=given)

    assert bool((x[:, 2] == 1).all())
    with pytest.raises(ValueError, match="none of the model's 2 orderings"):
        given = given.roll(1, 1).roll(1, 1)
        model.sample(50, given=given)


def test_a_group_stays_together_in_every_ordering() -> None:
    model = MADE(MIXED, MADE.Settings(hidden=30, ordering="random", orderings=5))

    for which in range(5):
        order = model.ordering(which).tolist()
        assert sorted(order) == list(range(len(MIXED)))
        assert order.index(1) == order.index(0) + 1
