"""Inverse-CDF sampling of indices, and temperature and top-p as in language models."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingParams:
    """Temperature and top-p, applied to every conditional when values are sampled.

    Categorical probabilities are raised to the power 1 / `temperature` and restricted
    to the nucleus, the smallest set of most likely codes whose total probability
    reaches `top_p`. Point masses and components of a mixture are selected in the same
    way by their weights. Within a Gaussian component the variance, within a logistic
    one the scale is multiplied by the temperature, and values come from the central
    interval of probability `top_p`. With both at 1, samples are exact.

    Reference:
        Holtzman et al., The curious case of neural text degeneration, 2020.
        https://arxiv.org/abs/1904.09751 (nuclei of categorical distributions).

    Attributes:
        temperature: Above 0; below 1 likely values become more likely.
        top_p: Above 0, at most 1.

    Raises:
        ValueError: A value is out of its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be above 0 and finite, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of codes to sample from, 0 outside the nucleus.

        Args:
            logits: Unnormalised log-probabilities, (*batch, codes).

        Returns:
            (*batch, codes); they add up to `top_p` or more.
        """
        if self.temperature != 1:
            logits = logits / self.temperature
        probabilities = logits.softmax(-1)
        if self.top_p == 1:
            return probabilities
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        nucleus = ranked.masked_fill(before >= self.top_p, 0)
        return torch.zeros_like(probabilities).scatter(-1, order, nucleus)

    def shrink_uniform(self, uniform: Tensor) -> Tensor:
        """Map uniform numbers from (0, 1) into its central interval of length top_p."""
        if self.top_p == 1:
            return uniform
        return 0.5 + (uniform - 0.5) * self.top_p


EXACT_SAMPLING = SamplingParams()
"""Temperature 1 and top-p 1: samples follow the model."""


def sample_categorical(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Sample indices by the inverse CDF.

    Args:
        probabilities: Weights that need not add up to 1, (*batch, n).
        uniform: Numbers from [0, 1), (*batch,).

    Returns:
        int64, (*batch,).
    """
    cumulative = probabilities.cumsum(-1)
    threshold = (uniform * cumulative[..., -1]).unsqueeze(-1)
    index = (cumulative <= threshold).sum(-1)
    return index.clamp(max=probabilities.shape[-1] - 1)


def split_uniform(probabilities: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Sample indices by the inverse CDF, and return what is left of the noise.

    Args:
        probabilities: Weights that need not add up to 1, (*batch, n).
        uniform: Numbers from [0, 1), (*batch,).

    Returns:
        Indices (*batch,), and numbers from [0, 1] that do not depend on them.
    """
    index = sample_categorical(probabilities, uniform)
    cumulative = probabilities.cumsum(-1)
    own, upto = (
        part.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        for part in (probabilities, cumulative)
    )
    inside = uniform * cumulative[..., -1] - (upto - own)
    return index, (inside / own.clamp(min=1e-30)).clamp(0, 1)
