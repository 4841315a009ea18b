"""Causal attention by the fastest implementation for the device."""

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_DENSE_LENGTH = 512
"""Maximum sequence length for which training on a CPU stores the attention weights."""

MAX_BLOCK_WEIGHTS = 2**21
"""Maximum number of attention weights computed at once, so that they fit the cache."""


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute causal multi-head attention.

    Uses the fused kernel of PyTorch, except for training on a CPU with short sequences,
    where its backward pass takes several times as long as that of matrix products.

    Args:
        q: Queries, (batch, heads, length, width).
        k: Keys, likewise.
        v: Values, likewise.

    Returns:
        (batch, heads, length, width).

    Reference:
        Vaswani et al., Attention is all you need, 2017.
        https://arxiv.org/abs/1706.03762
    """
    products = (
        q.device.type == "cpu" and q.requires_grad and q.shape[2] <= MAX_DENSE_LENGTH
    )
    if not products or torch.compiler.is_compiling():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _by_products(q, k, v)


def _by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    places, width = q.shape[2:]
    later = torch.full((places, places), -torch.inf, dtype=q.dtype).triu(1)
    together = max(1, MAX_BLOCK_WEIGHTS // places**2)
    parts = []
    for own, keys, values in zip(
        *(t.flatten(0, 1).split(together) for t in (q, k, v)), strict=True
    ):
        mask = later.expand(len(own), -1, -1)
        scores = torch.baddbmm(mask, own, keys.transpose(1, 2), alpha=width**-0.5)
        parts.append(torch.bmm(scores.softmax(-1), values))
    return torch.cat(parts).view(q.shape)
