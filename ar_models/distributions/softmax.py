"""Entropies and tail probabilities of softmax distributions, from logits."""

from collections.abc import Callable

import torch
from torch import Tensor

from ar_models.kernels import softmax_tails
from ar_models.kernels.compiled import run_kernel, use_kernel

MIN_DIRECT_PROBABILITY = 1e-30
"""Probabilities below this are computed by logarithms throughout, which is slower."""

EQUAL_LOGIT_MARGIN = 1e-4
"""Maximum difference of log-probabilities, in nats, of codes that count as equally
likely: rounding depends on the batch."""


def entropy(logits: Tensor) -> Tensor:
    """Compute entropies in nats: (*batch, codes) -> (*batch,)."""
    log_probs = logits.log_softmax(-1)
    negative: Tensor = torch.linalg.vecdot(log_probs.exp(), log_probs)
    return -negative


def log_tail_probs(logits: Tensor, chosen: Tensor) -> Tensor:
    """Compute log-probabilities of less, equally and more likely codes, in nats.

    Args:
        logits: Unnormalised log-probabilities of all codes, (*batch, codes).
        chosen: Logit of the code to compare with, (*batch, 1).

    Returns:
        (*batch, 3).
    """
    if use_kernel(logits):
        rows = logits.reshape(-1, 1, logits.shape[-1])
        tails = run_kernel(
            softmax_tails.log_tail_probs,
            rows,
            chosen.reshape(-1, 1, 1),
            EQUAL_LOGIT_MARGIN,
            shape=(3, len(rows), 1),
        )
        return tails.movedim(0, -1).reshape(*logits.shape[:-1], 3)
    plain, probabilities = logits.detach(), logits.softmax(-1)
    low, high = (chosen.detach() + d for d in (-EQUAL_LOGIT_MARGIN, EQUAL_LOGIT_MARGIN))
    # Masks of the numbers 0 and 1 are several times as fast as booleans.
    less = torch.lt(plain, low, out=torch.empty_like(plain))
    more = torch.gt(plain, high, out=torch.empty_like(plain))
    equal = (1 - less).sub_(more)

    def log_sum(mask: Tensor) -> Tensor:
        return stable_log(
            torch.linalg.vecdot(probabilities, mask),
            lambda at: (
                logits[at].log_softmax(-1).masked_fill(mask[at] == 0, -torch.inf)
            ),
        )

    return torch.stack([log_sum(less), log_sum(equal), log_sum(more)], -1)


def stable_log(
    total: Tensor, log_terms: Callable[[tuple[Tensor, ...]], Tensor]
) -> Tensor:
    """Compute logs of probabilities that are sums, accurately also where they vanish.

    Args:
        total: The probabilities, (batch, count).
        log_terms: Returns the logs of the summands, (n, terms), at the n positions of
            an index into (batch, count).
    """
    result = total.clamp(max=1).log()
    at = (total < MIN_DIRECT_PROBABILITY).nonzero(as_tuple=True)
    if len(at[0]):
        result[at] = log_terms(at).logsumexp(-1)
    return result
