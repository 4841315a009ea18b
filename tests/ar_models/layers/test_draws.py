import torch

from ar_models.distributions.sampling import EXACT_SAMPLING
from ar_models.layers.draws import sample_group
from tests.support.conditionals import MIXED, conditionals, uniform


def test_one_variable_is_sampled_as_among_all() -> None:
    whole, noise = conditionals(MIXED, count=20), uniform(20, len(MIXED))
    for i in range(len(MIXED)):
        group, at = whole.layout.single(i)
        own = sample_group(group, whole.parameters[:, at], noise[:, i], EXACT_SAMPLING)
        assert torch.equal(own, whole.sample(noise)[:, i])
