import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import SamplingParams
from ar_models.variables import binary_variables
from tests.support.conditionals import MIXED, conditionals, uniform


def test_codes_drawn_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = conditionals(MIXED, count=20)
    noise = torch.rand(20, len(MIXED), 2, dtype=torch.float64)
    together = whole.sample(noise)

    monkeypatch.setattr("ar_models.distributions.discrete.MAX_SAMPLING_LOGITS", 300)

    assert torch.equal(whole.sample(noise), together)


def test_the_nucleus_of_a_binary_variable_is_its_likelier_value() -> None:
    layout = ParameterLayout.of(binary_variables(1))
    whole = Conditionals(layout, torch.tensor([[-0.3]]).expand(500, 1))

    assert not bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.2)).any())
    assert not bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.5)).any())
    assert bool(whole.sample(uniform(500, 1), SamplingParams(top_p=0.7)).any())
