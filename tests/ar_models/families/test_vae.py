"""What is particular to the variational autoencoder."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ar_models.families.settings import Decoder
from ar_models.families.vae import VAE
from ar_models.scoring.statistics import score_batch
from ar_models.tables.encoder import Encoded
from ar_models.variables import Variable, binary_variables
from tests.support.models import (
    DISCRETE,
    check_gradients,
    draw,
    every_vector,
    perturbed,
)

ROWS = (
    *DISCRETE,
    Variable("z0", "categorical", 3, size=70),
    Variable("d", "real", 4),
)

every_decoder = pytest.mark.parametrize("decoder", ["independent", "made"])


def build(
    variables: tuple[Variable, ...], decoder: str = "independent", **settings: object
) -> VAE:
    """Return a small model whose weights are far from zero."""
    small = {"latent": 2, "hidden": 24, "components": 2, "decoder": decoder}
    return perturbed("vae", variables, 0.2, **small | settings)


def integral(model: VAE, x: Tensor) -> Tensor:
    """Integrate over two latents by the trapezoidal rule: (batch,) in nats."""
    axis = torch.linspace(-5, 5, 41)
    total = []
    for first in axis:
        z = torch.stack([first.expand(41), axis], -1)
        with torch.no_grad():
            shares = model.decoder.log_prob(
                z.repeat_interleave(len(x), 0), x.repeat(41, 1)
            )
        weight = -0.5 * z.square().sum(-1) - math.log(2 * math.pi) + 2 * math.log(0.25)
        total.append(shares.sum(-1).view(41, -1) + weight.unsqueeze(-1))
    return torch.cat(total).logsumexp(0)


@every_decoder
def test_the_bound_rises_to_the_exact_value_with_more_samples(decoder: str) -> None:
    x = every_vector()
    bounds = []
    for samples in (1, 16, 512):
        model = build(DISCRETE, decoder, samples=samples)
        with torch.no_grad():  # an approximate posterior about as wide as the prior
            model.encoder.last.weight.mul_(0.3)
            model.encoder.last.bias.zero_()
            bounds.append(model.log_prob(x))
    exact = integral(model, x)

    torch.testing.assert_close(exact.logsumexp(0), torch.tensor(0.0), atol=1e-4, rtol=0)
    means = [bound.mean().item() for bound in bounds]
    assert means[0] < means[1] - 0.01 < means[2] - 0.02
    assert means[2] < exact.mean().item() + 0.002
    torch.testing.assert_close(bounds[2], exact, atol=0.05, rtol=0)


def test_in_the_mean_over_points_the_bound_holds_for_each_row() -> None:
    # Of 56 rows one exceeds its exact value by 5 errors with odds of 2e-5.
    x = every_vector()
    model = build(DISCRETE, samples=2)
    exact = integral(model, x)
    generator = torch.Generator().manual_seed(0)
    values = []
    with torch.no_grad():
        for _ in range(100):
            model.points.normal_(generator=generator)
            values.append(model.log_prob(x))
    bound = torch.stack(values)

    excess = (bound.mean(0) - exact) / (bound.std(0) / math.sqrt(100))
    assert float(excess.max()) < 5
    assert float(excess.mean()) < -5


def test_a_decoder_that_ignores_the_latents_makes_the_bound_exact() -> None:
    model = build(DISCRETE, samples=3)
    assert model.decoder.network.first.weight.shape == (24, 2)
    with torch.no_grad():
        model.decoder.network.first.weight.zero_()
        model.encoder.last.weight.zero_()
        model.encoder.last.bias.zero_()
    x = every_vector()

    for mode in (False, True):
        model.train(mode)
        marginal = model.conditionals(x).log_prob(x).sum(-1)
        torch.testing.assert_close(model.log_prob(x), marginal)


@every_decoder
def test_in_train_mode_it_is_the_evidence_lower_bound(decoder: str) -> None:
    model = build(ROWS, decoder).train()
    x = draw(model, 16)
    torch.manual_seed(3)
    value, shares = model(x), None
    torch.manual_seed(3)
    shares = model.variable_log_prob(x)

    torch.manual_seed(3)
    mean, log_scale = model.encode(x)
    posterior = torch.distributions.Normal(mean, log_scale.exp())
    z = mean + torch.randn(16, 2) * log_scale.exp()
    prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    cost = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    by_hand = model.decoder.log_prob(z, x).sum(-1) - cost
    torch.testing.assert_close(value, by_hand, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shares.sum(-1), by_hand, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model(x), by_hand)


@every_decoder
def test_sample_frequencies_follow_the_exact_probabilities(decoder: str) -> None:
    # Chi-square with at most 55 degrees of freedom: above 130 with odds of 1e-7.
    model = build(DISCRETE, decoder)
    vectors = every_vector()
    count = 20_000

    x = draw(model, count)

    same = x.nan_to_num(-1)[:, None] == vectors.nan_to_num(-1)
    observed = same.all(-1).sum(0)
    expected = integral(model, vectors).exp() * count
    likely = expected >= 5
    statistic = ((observed - expected).square() / expected)[likely].sum()
    assert int(observed.sum()) == count
    assert float(statistic) < 130


@every_decoder
def test_every_parameter_gets_a_gradient(decoder: str) -> None:
    model = build(ROWS, decoder)
    x = draw(model, 128)
    check_gradients(model, x)


@every_decoder
def test_a_row_does_not_depend_on_its_batch(decoder: str) -> None:
    model = build(ROWS, decoder, samples=8)
    x = draw(model, 8)

    alone = torch.cat([model.variable_log_prob(row) for row in x.split(1)])

    torch.testing.assert_close(model.variable_log_prob(x), alone, atol=1e-5, rtol=1e-4)
    together = model.variable_log_prob(x).sum(-1)
    torch.testing.assert_close(model.log_prob(x), together, atol=1e-4, rtol=1e-5)


def test_the_quick_bound_takes_fewer_points() -> None:
    model = build(ROWS, samples=32)
    few = build(ROWS, samples=8)
    few.points.copy_(model.points[:8])
    x = draw(model, 16)

    quick = model.estimate_variable_log_prob(x).sum(-1)
    torch.testing.assert_close(quick, few.log_prob(x))
    assert not torch.allclose(quick, model.log_prob(x))


def test_the_made_decoder_sees_the_latents_and_what_comes_before() -> None:
    model = build(ROWS, "made", ordering="random", seed=2)
    x = draw(model, 64)
    z = torch.randn(64, 2)
    before = model.decoder.conditionals(z, x)
    order = model.ordering().tolist()
    assert order != list(range(6))
    for rank, i in enumerate(order):
        changed = torch.where(torch.arange(6) == i, x.roll(1, 0), x)
        after = model.decoder.conditionals(z, changed).parameters
        moved = (after != before.parameters).any(0)
        owners = set(before.layout.variable_index[moved].tolist())
        assert owners <= set(order[rank + 1 :])
        assert owners or rank == 5
    other = model.decoder.conditionals(z.roll(1, 0), x).parameters
    assert bool((other != before.parameters).any(0).all())


def test_conditionals_are_the_decoders_at_the_mean_latent_vector() -> None:
    for decoder in ("independent", "made"):
        model = build(ROWS, decoder)
        x = draw(model, 16)

        expected = model.decoder.log_prob(model.features(x), x)

        assert model.features(x).shape == (16, 2)
        torch.testing.assert_close(model.conditionals(x).log_prob(x), expected)


@pytest.mark.parametrize("decoder", ["independent", "made"])
def test_learning_finds_what_variables_have_in_common(decoder: Decoder) -> None:
    # All six bits are equal: log 2 nats in all, and 6 log 2 if they were independent.
    torch.manual_seed(0)
    x = torch.randint(0, 2, (256, 1)).expand(-1, 6).float()
    model = VAE(binary_variables(6), VAE.Settings(latent=1, hidden=32, decoder=decoder))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(120):
        optimizer.zero_grad()
        model(x).mean().neg().backward()
        optimizer.step()

    nll = -model.eval().log_prob(x).mean().item()
    assert math.log(2) - 0.01 < nll < 3 * math.log(2)


def test_nothing_can_be_given() -> None:
    model = build(ROWS)
    given = torch.full((3, 6), math.nan)
    given[1, 0] = 1

    with pytest.raises(ValueError, match="a vae cannot sample rows with given values"):
        model.sample(3, given=given)


def test_an_independent_decoder_takes_no_ordering() -> None:
    with pytest.raises(ValueError, match="takes no ordering, got ordering 'random'"):
        VAE(binary_variables(2), VAE.Settings(ordering="random"))


def test_judging_a_row_takes_the_bound_and_what_the_decoder_expects() -> None:
    model = build(ROWS)
    x = draw(model, 16)
    encoded = Encoded(
        x=x.numpy(),
        log_abs_det=np.zeros((16, 5)),
        out_of_support=np.zeros((16, 5), np.int8),
    )

    surprisal = score_batch(model, encoded, "surprisal")
    excess = score_batch(model, encoded, "excess")

    bound = model.log_prob(x).detach().double().numpy()
    np.testing.assert_allclose(surprisal.log_prob.sum(1), bound, rtol=1e-4)
    entropy = model.conditionals(x).entropy().masked_fill(x.isnan(), 0).sum(1)
    expected = -bound - entropy.detach().double().numpy()
    np.testing.assert_allclose(excess.contributions.sum(1), expected, rtol=1e-3)
