"""What is particular to the transformer, and to order-agnostic models."""

import math

import pytest
import torch
from torch import nn

from ar_models.families import transformer
from ar_models.families.base import (
    AutoregressiveModel,
    ancestral_sample,
)
from ar_models.families.transformer import Block, Transformer
from ar_models.layers.variable_tokens import random_orderings
from ar_models.variables import Variable, binary_variables
from tests.support.models import SEQUENCE_ROWS as ROWS
from tests.support.models import draw, perturbed


def build(variables: tuple[Variable, ...], **settings: object) -> Transformer:
    """Return a small model whose weights are far from zero."""
    small = {"hidden": 16, "layers": 2, "heads": 2, "components": 2}
    return perturbed("transformer", variables, **small | settings)


def test_a_block_is_a_pre_norm_encoder_layer_with_a_causal_mask() -> None:
    torch.manual_seed(0)
    block = Block(hidden=12, heads=3, dropout=0.0)
    peer = nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True
    )
    pairs = {
        "norm_attention": peer.norm1,
        "out": peer.self_attn.out_proj,
        "norm_feed": peer.norm2,
        "up": peer.linear1,
        "down": peer.linear2,
    }
    for name, of_peer in pairs.items():
        of_peer.load_state_dict(block.get_submodule(name).state_dict())
    with torch.no_grad():
        peer.self_attn.in_proj_weight.copy_(block.qkv.weight)
    h = torch.randn(4, 7, 12)
    mask = nn.Transformer.generate_square_subsequent_mask(7)

    torch.testing.assert_close(block(h), peer(h, src_mask=mask, is_causal=True))


def test_rows_with_orderings_of_their_own_are_each_as_if_alone() -> None:
    model = build(ROWS, order_agnostic=True)
    x = draw(model)
    orders = random_orderings(ROWS, torch.rand(x.shape))

    together = model.conditionals(x, orders).log_prob(x)

    alone = [
        model.conditionals(x[[k]], orders[k]).log_prob(x[[k]]) for k in range(len(x))
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_order_agnostic_training_takes_new_orderings_each_step() -> None:
    model = build(ROWS, order_agnostic=True)
    x = draw(model)
    torch.manual_seed(1)
    orders = random_orderings(ROWS, torch.rand(x.shape))
    by_hand = model.conditionals(x, orders).log_prob(x).sum(-1)

    model.train()
    torch.manual_seed(1)

    torch.testing.assert_close(model(x), by_hand)
    assert not torch.allclose(model(x), by_hand)
    assert torch.equal(model.eval()(x), model.log_prob(x))


def test_what_is_unknown_is_asked_for_in_one_pass() -> None:
    model = build(ROWS, order_agnostic=True).double()
    x = draw(model)
    known = torch.rand(x.shape) < 0.5
    known[:, 2] &= known[:, 1]
    nothing_later = x.masked_fill(~known, 1.0)

    at_once = model.conditionals_given(x, known)

    assert torch.equal(
        at_once.parameters, model.conditionals_given(nothing_later, known).parameters
    )
    for row in range(len(x)):
        first = known[row].nonzero()[:, 0].tolist()
        for i in (~known[row]).nonzero()[:, 0].tolist():
            if i == 2 and 1 not in first:
                continue
            rest = [j for j in range(5) if j not in (*first, i)]
            order = torch.tensor([*first, i, *rest])
            one = model.conditionals(x[[row]], order).parameters[0]
            mine = model.chain.layout.variable_index == i
            torch.testing.assert_close(at_once.parameters[row, mine], one[mine])


def test_marginals_in_one_pass_are_those_variable_by_variable() -> None:
    model = build(ROWS, order_agnostic=True, ordering="random", seed=1)
    x = draw(model)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    known[:, 2] &= known[:, 1]

    by_steps = AutoregressiveModel.marginal_log_prob(model, x, known)

    at_once = model.marginal_log_prob(x, known)
    torch.testing.assert_close(at_once, by_steps, atol=1e-4, rtol=1e-5)


def test_an_order_agnostic_model_draws_given_any_variables() -> None:
    model = build(ROWS, order_agnostic=True, orderings=2, ordering="random").double()
    x = draw(model, 40)
    given = torch.full_like(x, math.nan)
    given[:10, 3] = x[:10, 3]
    given[10:20, [1, 2, 4]] = x[10:20, [1, 2, 4]]
    given[20:30, [1, 4]] = x[20:30, [1, 4]]

    drawn = model.sample(40, given=given, generator=torch.Generator().manual_seed(5))

    known = ~given.isnan()
    assert torch.equal(drawn[known], given[known])
    generator = torch.Generator().manual_seed(5)
    noise = torch.rand(40, 5, 2, generator=generator).double()
    which = model.choose_orderings(given, generator).tolist()
    assert set(which) == {0, 1}
    twin = build(ROWS).double()
    for k in range(40):
        own = model.ordering(which[k]).tolist()
        order = sorted(own, key=lambda i: (bool(given[k, i].isnan()), own.index(i)))
        twin.ordering_table[0] = torch.tensor(order)
        plain = ancestral_sample(twin, noise[[k]], given[[k]])
        torch.testing.assert_close(drawn[[k]], plain, equal_nan=True)


def test_a_value_cannot_be_given_without_its_state() -> None:
    model = build(ROWS, order_agnostic=True)
    given = torch.full((3, 5), math.nan)
    given[1, 2] = 0

    with pytest.raises(ValueError, match="row 1 fixes b, but not what comes before"):
        model.sample(3, given=given)


def test_in_fixed_orderings_nothing_else_can_be_known() -> None:
    model = build(ROWS)
    x = draw(model)

    with pytest.raises(TypeError, match="conditions only on what comes first"):
        model.conditionals_given(x, x > 0)
    with pytest.raises(TypeError, match="an order-agnostic model is needed"):
        model.marginal_log_prob(x, x > 0)


def test_order_agnostic_training_learns_both_directions() -> None:
    # b is a copy of a, but in a tenth of the rows: 0.325 nats more than a alone.
    torch.manual_seed(0)
    a = torch.randint(0, 2, (1000,))
    x = torch.stack([a, a ^ (torch.arange(1000) % 10 == 0)], 1).float()
    model = Transformer(
        binary_variables(2),
        Transformer.Settings(hidden=16, layers=1, heads=1, order_agnostic=True),
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(x).mean().neg().backward()
        optimizer.step()
    model.eval()

    best = math.log(2) + 0.325
    for order in ([0, 1], [1, 0]):
        nll = -model.conditionals(x, torch.tensor(order)).log_prob(x).sum(1).mean()
        assert abs(nll.item() - best) < 0.02


def test_attention_reaches_the_first_variable() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 2, (256, 12)).float()
    x[:, -1] = x[:, 0]
    model = Transformer(
        binary_variables(12), Transformer.Settings(hidden=16, layers=1, heads=2)
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(50):
        optimizer.zero_grad()
        last = model.conditionals(x).log_prob(x)[:, -1].mean()
        last.neg().backward()
        optimizer.step()

    assert last.item() > -0.01


@pytest.mark.parametrize(
    "variable",
    [
        Variable("x", "binary", 0, size=2),
        Variable("x", "categorical", 0, size=100),
        Variable("x", "integer", 0, lower=0.0, upper=255.0, scale=70.0),
    ],
    ids=lambda variable: variable.kind,
)
def test_shared_maps_serve_every_kind(variable: Variable) -> None:
    variables = tuple(
        Variable(**{**variable.to_dict(), "name": f"x{i}", "group": i})
        for i in range(5)
    )
    model = build(variables, shared=True).double()
    own = build(variables).double()
    noise, free = torch.rand(64, 5, 2).double(), torch.full((64, 5), math.nan).double()

    drawn = model.draw(noise, free)

    torch.testing.assert_close(drawn, ancestral_sample(model, noise, free))
    count = [sum(p.numel() for p in m.parameters()) for m in (model, own)]
    assert count[0] < count[1]
    x = drawn.masked_fill(torch.rand(64, 5) < 0.2, math.nan)
    before = model.conditionals(x).parameters
    changed = torch.where(torch.arange(5) >= 2, drawn.roll(1, 0), x)
    after = model.conditionals(changed).parameters
    unmoved = model.chain.layout.variable_index <= 2
    assert torch.equal(before[:, unmoved], after[:, unmoved])
    assert not torch.equal(before, after)


def test_shared_maps_need_variables_that_are_alike() -> None:
    with pytest.raises(ValueError, match=r"got a \(binary, 2 codes\) and b.state"):
        build(ROWS, shared=True)


def test_rows_are_drawn_in_parts_that_fit_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(ROWS).double()
    whole = draw(model)
    monkeypatch.setattr(transformer, "CACHE_BYTES", 5 * 2 * 2 * 5 * 16 * 8)

    parts = draw(model)

    torch.testing.assert_close(parts, whole, equal_nan=True)


def test_features_see_every_variable() -> None:
    model = build(ROWS)
    x, other = draw(model), draw(model).roll(1, 0)
    before = model.features(x)
    assert before.shape == (32, 32)
    for i in range(5):
        changed = torch.where(torch.arange(5) == i, other, x)
        assert not torch.equal(model.features(changed), before), i


def test_the_width_must_be_a_multiple_of_the_heads() -> None:
    settings = Transformer.Settings(hidden=10, heads=4)
    with pytest.raises(ValueError, match="hidden must be a multiple of heads, got 10"):
        Transformer(binary_variables(2), settings)
