import torch

from ar_models.distributions.base import at_least_float32


def test_half_precision_alone_is_widened() -> None:
    types = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    found = [at_least_float32(torch.ones(2, dtype=dtype)).dtype for dtype in types]
    assert found == [torch.float32] * 3 + [torch.float64]
