"""The laws of a density, over every family, kind of variable and ordering.

A new family is tested by a line in `ar_models/families/registry.py` and one in `SMALL`.
"""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import ancestral_sample
from ar_models.families.registry import build
from ar_models.variables import Variable
from tests.support import gradients
from tests.support.models import (
    CALENDAR,
    CODES,
    DEAF,
    DISCRETE,
    IMAGES,
    KINDS,
    LEARNED,
    MIXED,
    SMALL,
    check_gradients,
    draw,
    every_case,
    every_exact_case,
    every_exact_kind_of_case,
    every_family,
    every_kind_of_case,
    every_kind_of_family,
    every_vector,
    observations,
    perturbed,
    random_model,
    seeded,
)

ROOT = Path(__file__).parents[3]


@every_exact_case
def test_probabilities_sum_to_one(family: str, ordering: str) -> None:
    model = random_model(family, DISCRETE, ordering)

    total = model.log_prob(every_vector()).logsumexp(0)

    torch.testing.assert_close(total, torch.tensor(0.0), atol=1e-5, rtol=0)


@every_exact_case
def test_densities_integrate_to_one(family: str, ordering: str) -> None:
    variables = (
        Variable("a", "real", 0, location=3.0, scale=2.0),
        Variable("b", "integer", 1, lower=-1.0, upper=1.0),
    )
    model = random_model(family, variables, ordering).double()
    # A grid fine at the origin, where narrow components stand, and far at its ends.
    t = torch.linspace(-12, 12, 16_001, dtype=torch.float64)
    grid, width = t.sinh(), t.cosh() * 0.0015

    with torch.inference_mode():
        total = sum(
            (model.log_prob(torch.stack([grid, grid * 0 + b], 1)).exp() * width).sum()
            for b in (-1, 0, 1)
        )

    assert float(total) == pytest.approx(1, abs=1e-5)


@every_exact_kind_of_case
def test_a_conditional_sees_only_the_past(
    family: str, ordering: str, kind: str
) -> None:
    model = random_model(family, KINDS[kind], ordering)
    x, other = observations(model, 64), observations(model, 64, seed=1)
    for which in range(model.orderings):
        before = model.conditionals(x, which)
        ranks = model.ordering(which).argsort()
        for rank in range(model.dim):
            changed = torch.where(ranks >= rank, other, x)
            after = model.conditionals(changed, which)
            unmoved = ranks[before.layout.variable_index] <= rank
            assert torch.equal(
                before.parameters[:, unmoved], after.parameters[:, unmoved]
            )


@every_exact_kind_of_case
def test_a_conditional_sees_all_of_the_past(
    family: str, ordering: str, kind: str
) -> None:
    if family in DEAF:
        pytest.skip("conditions on nothing")
    model = random_model(family, KINDS[kind], ordering)
    x, other = observations(model, 256), observations(model, 256, seed=1)
    for which in range(model.orderings):
        before = model.conditionals(x, which)
        order = model.ordering(which).tolist()
        for i, j in itertools.combinations(order, 2):
            changed = x.clone()
            changed[:, i] = other[:, i]
            after = model.conditionals(changed, which)
            of_j = before.layout.variable_index == j
            moved = before.parameters[:, of_j] != after.parameters[:, of_j]
            assert bool(moved.any()), f"{j} does not see {i}"


@every_exact_case
def test_sample_frequencies_follow_the_probabilities(
    family: str, ordering: str
) -> None:
    # Chi-square with at most 55 degrees of freedom: above 130 with odds of 1e-7.
    model = random_model(family, DISCRETE, ordering)
    count = 20_000
    samples = model.sample(count, generator=torch.Generator().manual_seed(0))
    vectors = every_vector()
    same = samples.nan_to_num(-1)[:, None] == vectors.nan_to_num(-1)
    observed = same.all(-1).sum(0)
    expected = model.log_prob(vectors).exp().detach() * count
    likely = expected >= 5

    statistic = ((observed - expected).square() / expected)[likely].sum()

    assert int(observed.sum()) == count
    assert float(statistic) < 130
    assert int(observed[~likely].sum()) < 5 * int((~likely).sum()) + 30


@every_exact_case
def test_tempered_samples_follow_tempered_conditionals(
    family: str, ordering: str
) -> None:
    # Chi-square with at most 71 degrees of freedom: above 160 with odds of 1e-8.
    model = random_model(family, CODES, ordering)
    sampling = SamplingParams(temperature=0.6, top_p=0.85)
    vectors = torch.cartesian_prod(*(torch.arange(v.size) for v in CODES)).float()
    count = 10_000
    noise = torch.rand(count, len(CODES), 2, generator=seeded(0))
    free = torch.full((count, len(CODES)), math.nan)
    for which in range(model.orderings):
        conditionals = model.conditionals(vectors, which)
        share = torch.ones(len(vectors))
        for i in range(model.dim):
            tempered = nucleus(conditionals.probabilities(i), 0.6, 0.85)
            share *= tempered.gather(1, vectors[:, [i]].long()).squeeze(1).detach()
        x = model.draw(noise, free, which, sampling)
        observed = (x[:, None] == vectors).all(-1).sum(0)
        assert int(observed[share == 0].sum()) == 0
        expected = share * count
        likely = expected >= 5
        off = ((observed - expected).square() / expected)[likely].sum()
        assert float(share.sum()) == pytest.approx(1, abs=1e-5)
        assert float(off) < 160


def nucleus(probabilities: Tensor, temperature: float, top_p: float) -> Tensor:
    """Tempered probabilities (rows, codes), cut to the likeliest codes."""
    rows = []
    for row in (probabilities ** (1 / temperature)).tolist():
        total, kept = sum(row), 0.0
        cut = [0.0] * len(row)
        for code in sorted(range(len(row)), key=lambda code: -row[code]):
            if kept < top_p:
                cut[code] = row[code]
            kept += row[code] / total
        rows.append([share / sum(cut) for share in cut])
    return torch.tensor(rows)


@every_exact_case
def test_samples_of_numbers_follow_their_cdf(family: str, ordering: str) -> None:
    # Kolmogorov's statistic exceeds 2.7 with odds of 1e-6, and there are 6 here.
    variables = (
        Variable("a", "real", 0, location=3.0, scale=2.0),
        Variable("b", "real", 1),
    )
    model = random_model(family, variables, ordering)
    count = 4000
    noise = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(0))
    for which in range(model.orderings):
        x = model.draw(noise, torch.full((count, 2), math.nan), which)
        uniform = model.conditionals(x, which).cdf(x).detach().sort(0).values
        steps = torch.arange(1, count + 1).unsqueeze(-1) / count
        assert float((uniform - steps).abs().max()) * math.sqrt(count) < 2.7


@every_kind_of_case
def test_every_parameter_gets_a_gradient(family: str, ordering: str, kind: str) -> None:
    model = random_model(family, KINDS[kind], ordering)
    x = observations(model, 256)
    check_gradients(model, x)


@every_kind_of_case
def test_config_and_weights_rebuild_the_model(
    family: str, ordering: str, kind: str
) -> None:
    model = random_model(family, KINDS[kind], ordering)
    x = observations(model, 64)
    variables = [Variable.from_dict(v.to_dict()) for v in model.variables]
    config = json.loads(json.dumps(model.config()))

    again = build(family, variables, **config)
    again.load_state_dict(model.state_dict())

    assert torch.equal(again.eval().log_prob(x), model.log_prob(x))


@every_kind_of_case
def test_a_row_does_not_depend_on_its_batch(
    family: str, ordering: str, kind: str
) -> None:
    model = random_model(family, KINDS[kind], ordering)
    x = observations(model, 33)

    alone = torch.cat([model.log_prob(row) for row in x.split(1)])

    torch.testing.assert_close(model.log_prob(x), alone, atol=1e-5, rtol=1e-5)


@every_kind_of_case
def test_shares_of_variables_add_up(family: str, ordering: str, kind: str) -> None:
    model = random_model(family, KINDS[kind], ordering)
    x = observations(model, 64)

    shares = model.variable_log_prob(x)

    torch.testing.assert_close(shares.sum(-1), model.log_prob(x), atol=1e-4, rtol=1e-5)
    assert bool((shares[x.isnan()] == 0).all())
    assert model.log_prob(torch.full((1, model.dim), math.nan)).tolist() == [0]


@every_exact_kind_of_case
def test_draws_equal_the_plain_sampler(family: str, ordering: str, kind: str) -> None:
    model = random_model(family, KINDS[kind], ordering).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(200, model.dim, 2, generator=generator, dtype=torch.float64)
    for which in range(model.orderings):
        given = torch.full((200, model.dim), math.nan, dtype=torch.float64)
        plain = ancestral_sample(model, noise, given, which)
        drawn = model.draw(noise, given, which)
        torch.testing.assert_close(drawn, plain, equal_nan=True)

        first = model.ordering(which)[:2]
        given[50:, first] = plain.roll(1, 0)[50:, first]
        sampling = SamplingParams(temperature=0.7, top_p=0.8)
        for how in (EXACT_SAMPLING, sampling):
            plain = ancestral_sample(model, noise, given, which, how)
            drawn = model.draw(noise, given, which, how)
            torch.testing.assert_close(drawn, plain, equal_nan=True)


@every_exact_case
def test_parts_of_a_date_are_drawn_given_the_date(family: str, ordering: str) -> None:
    if family in IMAGES:
        pytest.skip("needs variables of one kind")
    model = random_model(family, CALENDAR, ordering).double()
    noise = torch.rand(100, model.dim, 2, generator=seeded(0), dtype=torch.float64)
    for which in range(model.orderings):
        given = torch.full((100, model.dim), math.nan, dtype=torch.float64)
        plain = ancestral_sample(model, noise, given, which)
        drawn = model.draw(noise, given, which)
        torch.testing.assert_close(drawn, plain, equal_nan=True)
        before = model.conditionals(plain, which).parameters
        for i, j in ((2, 4), (3, 5), (4, 5), (4, 6)):
            ranks = model.ordering(which).argsort()
            if family in DEAF or ranks[i] > ranks[j]:
                continue
            changed = plain.clone()
            changed[:, i] = 1 - changed[:, i].clamp(0, 1)
            moved = model.conditionals(changed, which).parameters != before
            owner = model.conditionals(plain, which).layout.variable_index
            assert bool(moved[:, owner == j].any())
            assert not bool(moved[:, ranks[owner] <= ranks[i]].any())


@every_family
def test_children_are_absent_where_their_parent_says_so(family: str) -> None:
    model = random_model(family, MIXED)

    x = model.sample(500, generator=torch.Generator().manual_seed(0))

    assert torch.equal(x[:, 2].isnan(), x[:, 1] != 0)
    assert torch.equal(x[:, 7].isnan(), x[:, 6] != 1)
    assert not bool(x[:, [0, 1, 3, 4, 5, 6, 8]].isnan().any())


@every_kind_of_family
def test_one_and_two_variables_suffice(family: str, kind: str) -> None:
    for variables in ((KINDS[kind][0],), KINDS[kind][3:5], KINDS[kind][4:5]):
        model = random_model(family, variables)
        x = model.sample(5, generator=torch.Generator().manual_seed(0))
        assert x.shape == (5, len(variables))
        assert bool(model.log_prob(x).isfinite().all())


@pytest.mark.slow
def test_two_workers_give_the_gradient_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", gradients.__name__]
    files = [str(tmp_path / "meeting"), str(tmp_path / "found.safetensors")]
    workers = [
        subprocess.Popen([*command, str(rank), *files], cwd=ROOT) for rank in range(2)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]

    found = load_file(files[1])

    for family, kind in LEARNED:
        model = random_model(family, KINDS[kind])
        x = observations(model, gradients.ROWS)
        whole = gradients.gradients(model, x)
        assert whole
        for name, gradient in whole.items():
            two = found[f"{family} {kind} {name}"]
            size = float(gradient.abs().max())
            assert float((two - gradient).abs().max()) <= 1e-4 * size + 1e-7, name


@every_kind_of_family
def test_bf16_changes_the_log_probability_little(family: str, kind: str) -> None:
    # bf16 keeps 8 bits: parameters of size 3 are moved by about 0.01 each.
    model = random_model(family, KINDS[kind])
    x = observations(model, 256)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.variable_log_prob(x)

    assert rough.dtype == torch.float32
    off = (rough - model.variable_log_prob(x)).abs().detach()
    assert float(off.median()) < 0.02
    assert float(off.mean()) < 0.1


@every_kind_of_family
def test_draws_in_bf16_are_nearly_those_in_fp32(family: str, kind: str) -> None:
    model = random_model(family, KINDS[kind])
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(512, model.noise_dim, 2, generator=generator)

    drawn = model.draw(noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.draw(noise)

    assert rough.dtype == torch.float32
    with torch.no_grad():
        exact = [float(model.log_prob(x).mean()) for x in (drawn, rough)]
    assert exact[1] == pytest.approx(exact[0], abs=0.05 * model.dim)


@every_case
def test_extreme_values_leave_gradients_finite(family: str, ordering: str) -> None:
    model = random_model(family, MIXED, ordering).train()
    nan = math.nan
    x = torch.tensor(
        [
            [1, 0, 8e6, 3, 1e30, 69, 1, -1e30, -8e6],
            [nan, nan, nan, nan, nan, nan, nan, nan, nan],
            [0, 1, nan, 0, -4e8, 0, 0, nan, 8e6],
        ]
    )
    for _ in range(model.orderings):
        value = model(x)
        assert bool(value.isfinite().all())
        value.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name


@every_exact_case
def test_surprisals_of_samples_are_the_entropy_on_average(
    family: str, ordering: str
) -> None:
    # Each mean is off by more than 6 standard errors with odds of about 1e-9.
    model = random_model(family, MIXED, ordering)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(4000, model.dim, 2, generator=generator)
    for which in range(model.orderings):
        x = model.draw(noise, torch.full((4000, model.dim), math.nan), which)
        with torch.inference_mode():
            conditionals = model.conditionals(x, which)
            excess = -conditionals.log_prob(x) - conditionals.entropy()
        for i in range(model.dim):
            present = excess[~x[:, i].isnan(), i]
            error = present.std() / math.sqrt(len(present))
            assert float(present.mean().abs()) < 6 * float(error) + 0.01


@pytest.mark.parametrize("family", ["made", "nade", "rnn", "transformer"])
def test_dropout_acts_in_train_mode_only(family: str) -> None:
    model = perturbed(family, MIXED, **SMALL[family], dropout=0.5)
    x = draw(model)

    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
