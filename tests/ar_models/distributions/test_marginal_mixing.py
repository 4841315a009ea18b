import pytest
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.marginal_mixing import mix
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.variables import Variable

WEIGHT = 0.01

VARIABLES = (
    Variable("a", "binary", 0, size=2, frequencies=(0.9, 0.1), marginal_weight=WEIGHT),
    Variable(
        "b",
        "categorical",
        1,
        size=3,
        frequencies=(0.7, 0.2, 0.1),
        marginal_weight=WEIGHT,
    ),
    Variable(
        "c",
        "integer",
        2,
        atoms=(0.0, 1.0),
        frequencies=(0.6, 0.1, 0.3),
        marginal_weight=WEIGHT,
    ),
    Variable(
        "d",
        "integer",
        3,
        lower=0.0,
        upper=2.0,
        edges=(0.0, 1.0, 2.0, 3.0),
        frequencies=(1e-9, 0.7, 0.2, 0.1, 1e-9, *[0.1] * 50),
        marginal_weight=WEIGHT,
    ),
)
"""Variables whose value 1 or, in `b` and `d`, 2 has a frequency of 0.1."""

RARE = torch.tensor([[1.0, 2.0, 1.0, 2.0]])


def confident() -> tuple[ParameterLayout, Tensor]:
    """Return a layout, and parameters with which the rare values hardly occur."""
    layout = ParameterLayout.of(VARIABLES, components=2).requires_grad_(False)
    parameters = layout.initial_bias().unsqueeze(0)
    for i, at in ((0, 0), (1, 2), (2, 1), (3, 3)):
        parameters[0, layout.slice_of(i).start + at] = -200.0
    # The components of the mixture lie far from the atom.
    atoms = layout.slice_of(2)
    parameters[0, atoms.start + 4 : atoms.start + 6] = 50.0
    return layout, parameters


def test_a_value_keeps_a_share_of_its_frequency() -> None:
    layout, parameters = confident()

    found = Conditionals(layout.eval(), parameters).log_prob(RARE)

    expected = torch.full((1, 4), WEIGHT * 0.1).log()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_training_sees_the_network_alone() -> None:
    layout, parameters = confident()

    found = Conditionals(layout.train(), parameters).log_prob(RARE)

    assert (found < -80).all()


def test_a_selection_is_mixed_as_the_whole_is() -> None:
    layout, parameters = confident()
    layout.eval()
    chosen = layout.select([3, 0])

    found = Conditionals(chosen, parameters[:, chosen.source_index])
    single, at = layout.single(1)

    whole = Conditionals(layout, parameters).log_prob(RARE)
    torch.testing.assert_close(found.log_prob(RARE[:, [3, 0]]), whole[:, [3, 0]])
    own = single.log_prob(parameters[:, at].unsqueeze(1), RARE[:, 1:2])
    torch.testing.assert_close(own, whole[:, 1:2])


def test_a_mixture_keeps_the_frequencies_of_the_network_on_average() -> None:
    frequencies = torch.tensor([[0.5, 0.25, 0.25]])
    # Two rows whose conditional probabilities have the frequencies as their mean.
    conditional = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.5, 0.5]]])

    mixed = mix(conditional, frequencies, torch.tensor([0.2])).exp()

    torch.testing.assert_close(mixed.mean(0), frequencies)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(2, 1))


@pytest.mark.parametrize("kind", ["binary", "categorical"])
def test_without_weights_nothing_changes(kind: str) -> None:
    variables = (Variable("a", kind, 0, size=2),)  # type: ignore[arg-type]
    layout = ParameterLayout.of(variables).requires_grad_(False).eval()
    parameters = torch.randn(5, layout.size)

    found = Conditionals(layout, parameters).log_probabilities(0)

    plain = ParameterLayout.of(variables).requires_grad_(False).train()
    expected = Conditionals(plain, parameters).log_probabilities(0)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
