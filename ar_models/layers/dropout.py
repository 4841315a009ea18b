"""Dropout with few random numbers on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 2**16
"""Resolution of the dropout probability on a CPU, as a 64-bit random number serves four
units."""


class Dropout(nn.Module):
    """Dropout layer, equal to `torch.nn.Dropout` but faster to train on a CPU.

    The one random number per unit of `torch.nn.Dropout` takes a fifth of a training
    step on a CPU; here a 64-bit number decides about four units.

    Reference:
        Srivastava et al., Dropout: a simple way to prevent neural networks from
        overfitting, 2014. https://jmlr.org/papers/v15/srivastava14a.html

    Args:
        p: Probability of dropping a unit, from 0 to 1.

    Raises:
        ValueError: The probability is not between 0 and 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout must be from 0 to 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        out = round(self.p * LEVELS)
        if out in (0, LEVELS):
            return x * (1.0 - out / LEVELS)
        numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        levels = numbers.random_(-(2**63), None).view(torch.int16)[: x.numel()]
        kept = torch.ge(
            levels.view(x.shape), out - LEVELS // 2, out=x.detach().new_empty(x.shape)
        )
        return x * kept.mul_(LEVELS / (LEVELS - out))

    def extra_repr(self) -> str:
        return f"p={self.p}"
