"""Weights of the variables in the loss, by whether their validation NLL still falls.

Variables of one network overfit at different times: a code with many values takes many
epochs to learn, while a noisy number next to it has its lowest validation NLL after a
few. Where the NLL of a variable stops falling, its gradients are scaled down, so that
training can go on for the others.
"""

import torch
from torch import Tensor

DECREASE = 0.7
"""Factor of the weight of a variable whose validation NLL did not fall in an epoch."""

INCREASE = 1.1
"""Factor of the weight of a variable whose validation NLL reached a new minimum."""

LEAST_WEIGHT = 0.05
"""Smallest weight: with none, the shared layers would drift away from a variable."""


class LossWeights:
    """Factors of the gradients of the variables' shares of the log-likelihood.

    Attributes:
        weights: Weight of each variable, at most 1, (dim,).
        lowest: Lowest validation NLL of each variable so far, in nats, (dim,).
    """

    def __init__(self, dim: int, device: torch.device) -> None:
        """Give all variables the weight 1.

        Args:
            dim: Number of variables.
            device: Device of the weights.
        """
        self.weights = torch.ones(dim, device=device)
        self.lowest = torch.full((dim,), torch.inf, dtype=torch.float64, device=device)

    def update(self, nll: Tensor) -> None:
        """Adapt the weights at the end of an epoch.

        Args:
            nll: Mean validation NLL of each variable, in nats, (dim,), in double
                precision.
        """
        fell = nll < self.lowest
        factors = torch.where(fell, INCREASE, DECREASE)
        self.weights = (self.weights * factors).clamp(LEAST_WEIGHT, 1.0)
        self.lowest = torch.where(fell, nll, self.lowest)

    def to_dict(self) -> dict[str, Tensor]:
        """Return the state, from which `load` restores it."""
        return {"weights": self.weights, "lowest": self.lowest}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore a state that `to_dict` returned.

        Args:
            state: The state.
        """
        self.weights = state["weights"].to(self.weights)
        self.lowest = state["lowest"].to(self.lowest)
