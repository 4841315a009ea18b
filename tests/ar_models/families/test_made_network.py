import torch

from ar_models.families.made import MADE
from ar_models.families.made_network import MaskedNetwork, SamplingOrder, SortedWeights
from ar_models.variables import binary_variables


def test_arrays_are_sorted_in_sampling_order() -> None:
    settings = MADE.Settings(hidden=7, layers=1, residual=False, ordering=[[2, 0, 1]])
    model = MADE(binary_variables(3), settings)
    parts = (model.first, model.inner, model.last, model.direct)
    network = MaskedNetwork(model.variables, model.inputs, model.layout, *parts)

    order = SamplingOrder.of(network, [2, 0, 1], model.degrees_of(0))
    weights = SortedWeights.of(network, order)

    assert model.degrees_of(0).tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert order.units == [0, 0, 4, 7]  # with a degree below the rank
    assert order.features == order.parameters == [0, 1, 2, 3]
    assert torch.equal(weights.first, model.first.weight[:, [2, 0, 1]])
    assert torch.equal(weights.last, model.last.weight[[2, 0, 1]])
