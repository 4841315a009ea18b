import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.layers.features import InputFeatures
from tests.support.conditionals import MIXED, conditionals


def test_a_selected_block_equals_its_part_of_the_whole() -> None:
    whole = conditionals(MIXED, count=20)
    x = whole.sample(torch.rand(20, len(MIXED), 2, dtype=torch.float64))
    noise = torch.rand(20, len(MIXED), 2, dtype=torch.float64)
    chosen = [7, 4, 1, 2]

    block = whole.layout.select(chosen)
    part = Conditionals(block, whole.parameters[:, block.source_index])

    assert torch.equal(part.log_prob(x[:, chosen]), whole.log_prob(x)[:, chosen])
    assert torch.equal(part.sample(noise[:, chosen]), whole.sample(noise)[:, chosen])
    inner = block.select([3, 0])
    assert torch.equal(inner.source_index, whole.layout.select([2, 7]).source_index)


def test_a_selected_block_of_inputs_equals_its_part_of_the_whole() -> None:
    inputs = InputFeatures.of(MIXED, 4).double()
    whole = conditionals(MIXED, count=20)
    x = whole.sample(torch.rand(20, len(MIXED), 2, dtype=torch.float64))
    chosen = [4, 1, 0]

    block = inputs.select(chosen)

    assert torch.equal(block(x[:, chosen]), inputs(x)[:, block.source_index])
    group, at = inputs.single(4)
    assert torch.equal(group(x[:, 4:5]).squeeze(1), inputs(x)[:, at])
