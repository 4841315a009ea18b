"""Attention by products, against the fused kernel."""

import pytest
import torch
from torch.nn import functional as F

from ar_models.layers import attention


@pytest.mark.parametrize("together", [1, 200, 2**21])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 0.05)]
)
def test_products_give_what_the_fused_kernel_gives(
    dtype: torch.dtype,
    tolerance: float,
    together: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "MAX_BLOCK_WEIGHTS", together)
    torch.manual_seed(0)
    parts = [torch.randn(3, 2, 9, 8, dtype=torch.float64) for _ in range(3)]
    weights = torch.randn(3, 2, 9, 8, dtype=torch.float64)

    def run(*, fused: bool) -> list[torch.Tensor]:
        q, k, v = own = [part.to(dtype).requires_grad_() for part in parts]
        if fused:
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            seen = attention.causal_attention(q, k, v)
        (seen * weights.to(dtype)).sum().backward()
        gradients = [part.grad for part in own if part.grad is not None]
        assert len(gradients) == 3
        return [seen.detach(), *gradients]

    for one, other in zip(run(fused=True), run(fused=False), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


def test_no_place_sees_a_later_one_to_the_bit() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 6, 4, requires_grad=True) for _ in range(3))
    before = attention.causal_attention(q, k, v)
    with torch.no_grad():
        k[:, :, 4:] += 3
        v[:, :, 4:] += 3
    after = attention.causal_attention(q, k, v)

    assert before[:, :, :4].equal(after[:, :, :4])
    assert not bool((before[:, :, 4:] == after[:, :, 4:]).any())
