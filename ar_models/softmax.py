"""What softmax distributions give, from logits that are not normalised."""

from collections.abc import Callable

import torch
from torch import Tensor

from ar_models import code_loops
from ar_models.compiled import by_loop, loops_pay

FAINT = 1e-30
"""Probabilities below are computed by logarithms, which is slower."""

AS_LIKELY = 1e-4
"""Codes whose log-probabilities (nats) differ by no more count as equally likely:
rounding depends on the batch."""


def entropy(logits: Tensor) -> Tensor:
    """Entropies in nats: (…, codes) -> (…)."""
    log_probs = logits.log_softmax(-1)
    negative: Tensor = torch.linalg.vecdot(log_probs.exp(), log_probs)
    return -negative


def by_likelihood(logits: Tensor, own: Tensor) -> Tensor:
    """Log-probabilities of less likely, as likely and likelier codes, (…, 3).

    Args:
        logits: Of all codes, (…, codes).
        own: That of the code at hand, (…, 1).
    """
    if loops_pay(logits):
        flat = logits.reshape(-1, 1, logits.shape[-1])
        each = by_loop(
            code_loops.log_ranks, flat, own.reshape(-1, 1), AS_LIKELY, results=3
        )
        return torch.stack(each, -1).view(*logits.shape[:-1], 3)
    plain, shares = logits.detach(), logits.softmax(-1)
    # As numbers, 0 and 1: several times as fast as what multiplies by booleans.
    less = torch.lt(plain, own.detach() - AS_LIKELY, out=torch.empty_like(plain))
    more = torch.gt(plain, own.detach() + AS_LIKELY, out=torch.empty_like(plain))
    as_much = (1 - less).sub_(more)

    def total(which: Tensor) -> Tensor:
        return logarithm(
            torch.linalg.vecdot(shares, which),
            lambda far: (
                logits[far].log_softmax(-1).masked_fill(which[far] == 0, -torch.inf)
            ),
        )

    return torch.stack([total(less), total(as_much), total(more)], -1)


def logarithm(total: Tensor, terms: Callable[[tuple[Tensor, ...]], Tensor]) -> Tensor:
    """Logs of probabilities that are sums, also where these vanish.

    Args:
        total: The probabilities, (batch, count).
        terms: Gives the logs of what they are sums of, (n, terms), at the n places of
            an index into (batch, count).
    """
    found = total.clamp(max=1).log()
    far = (total < FAINT).nonzero(as_tuple=True)
    if len(far[0]):
        found[far] = terms(far).logsumexp(-1)
    return found
