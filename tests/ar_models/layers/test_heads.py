import torch

from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.layers.heads import Heads
from tests.support.conditionals import MIXED


def test_heads_give_each_variable_its_own_map() -> None:
    torch.manual_seed(0)
    layout = ParameterLayout.of(MIXED, 3, 4)
    heads = Heads(layout, 6)
    h = torch.randn(9, len(MIXED), 6)

    parameters = heads(h)

    expected = (
        torch.einsum("bph,ph->bp", h[:, layout.variable_index], heads.weight)
        + heads.bias
    )
    torch.testing.assert_close(parameters, expected)
    for i, variable in enumerate(MIXED):
        group, alone = heads.forward_one(h[:, i], i)
        torch.testing.assert_close(alone, parameters[:, layout.variable_index == i])
        assert alone.shape[1] == group.width, variable
