import pytest
import torch

from ar_models.layers.hidden_layers import HiddenLayers


@pytest.mark.parametrize(("residual", "maps"), [(True, 6), (False, 2)])
def test_layers_are_plain_or_end_residual_blocks_near_the_identity(
    residual: bool, maps: int
) -> None:
    torch.manual_seed(0)
    layers = HiddenLayers(8, 3, residual=residual)
    layers.shrink_residuals()
    for linear in layers.maps:
        torch.nn.init.zeros_(linear.bias)
    h = torch.randn(5, 8)

    first, *_, last = found = layers(h)

    assert len(layers.maps) == maps
    assert len(found) == (4 if residual else 3)
    assert first is h
    assert bool(((last - h).abs().max() < 0.1) == residual)
