import torch
from torch.nn import functional as F

from ar_models.families.made import MADE
from ar_models.families.made_network import MaskedNetwork, SamplingOrder, SortedWeights
from ar_models.variables import binary_variables


def test_sorted_weights_compute_the_network_in_sampling_order() -> None:
    torch.manual_seed(0)
    settings = MADE.Settings(hidden=7, layers=1, residual=False, ordering=[[2, 0, 1]])
    model = MADE(binary_variables(3), settings)
    parts = (model.first, model.inner, model.last, model.direct)
    network = MaskedNetwork(model.variables, model.inputs, model.layout, *parts)
    order = SamplingOrder.of(network, [2, 0, 1], model.degrees_of(0))
    weights = SortedWeights.of(network, order)
    x = torch.tensor([[1.0, 0.0, 1.0]])

    logits = []
    for rank in range(3):
        units, seen = order.units[rank], order.features[rank]
        features = model.inputs(x)[0, order.feature_index]
        h = weights.first[:units, :seen] @ features[:seen] + model.first.bias[:units]
        bias = model.last.bias[order.parameter_index[rank]]
        logits.append(weights.last[rank, :units] @ F.relu(h) + bias)

    expected = model.conditionals(x).parameters[0, [2, 0, 1]]
    torch.testing.assert_close(torch.stack(logits), expected)
