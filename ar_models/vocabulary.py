"""Softmax over many codes whose logits are products, without holding them all.

For n queries and K codes the logits are `query @ table.T + bias`. They are computed for
some rows at a time and used up before the next: what stays in the cache costs a tenth
of what goes through memory.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ar_models import softmax

HELD = 2**19
"""So many logits are held at once on CPUs, …"""

HELD_ON_DEVICE = 2**26
"""… and on accelerators, where few large operations are faster."""


class LogProb(torch.autograd.Function):
    """Log-probabilities of codes, differentiable.

    Args:
        query: (n, rank).
        table: A row per code, (K, rank).
        bias: (K,).
        codes: Integers in 0 … K - 1, (n,).

    Returns:
        (n,), in nats. The gradient computes the logits again, and has none itself. Its
        products, not the logits, are in the type of an autocast around it.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's context object
        query: Tensor,
        table: Tensor,
        bias: Tensor,
        codes: Tensor,
    ) -> Tensor:
        totals, chosen = [query.new_empty(0)], [query.new_empty(0)]
        for rows, logits in blocks(query, table, bias):
            chosen.append(logits.gather(1, codes[rows, None]).squeeze(1))
            totals.append(log_total(logits))
        total = torch.cat(totals)
        ctx.save_for_backward(query, table, bias, codes, total)
        device = query.device.type
        autocast = torch.is_autocast_enabled(device)
        ctx.dtype = torch.get_autocast_dtype(device) if autocast else query.dtype
        return torch.cat(chosen) - total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        query, table, bias, codes, total = ctx.saved_tensors
        queries, codebook = query.to(ctx.dtype), table.to(ctx.dtype)
        of_query = torch.empty_like(query)
        of_table, of_bias = torch.zeros_like(table), torch.zeros_like(bias)
        for rows, logits in blocks(query, table, bias):
            own = weight[rows, None]
            slope = logits.sub_(total[rows, None]).exp_().mul_(-own)
            slope.scatter_add_(1, codes[rows, None], own)
            of_bias += slope.sum(0)
            slope = slope.to(ctx.dtype)
            of_query[rows] = slope @ codebook
            of_table += slope.T @ queries[rows]
        return of_query, of_table, of_bias, None


def log_prob(query: Tensor, table: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Log-probabilities (n,) of codes, in nats; see `LogProb`."""
    found: Tensor = LogProb.apply(query, table, bias, codes)  # type: ignore[no-untyped-call]
    return found


def entropy(query: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """Entropies (n,) of the codes, in nats; arguments as for `LogProb`."""
    return by_blocks(softmax.entropy, query, table, bias)


def log_ranks(query: Tensor, table: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Log-probabilities of less likely, as likely and likelier codes, (n, 3), nats."""
    parts = [query.new_empty(0, 3)]
    for rows, logits in blocks(query, table, bias):
        own = logits.gather(1, codes[rows, None])
        parts.append(softmax.by_likelihood(logits, own))
    return torch.cat(parts)


def by_blocks(
    of_rows: Callable[[Tensor], Tensor], query: Tensor, table: Tensor, bias: Tensor
) -> Tensor:
    """What `of_rows` makes of the logits of some rows, for all rows, (n,)."""
    parts = [of_rows(logits) for _, logits in blocks(query, table, bias)]
    return torch.cat(parts) if parts else query.new_empty(0)


def blocks(
    query: Tensor, table: Tensor, bias: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """The logits (rows, K) of some rows at a time, which may be overwritten."""
    held = HELD if query.device.type == "cpu" else HELD_ON_DEVICE
    size = min(max(1, held // len(table)), max(1, len(query)))
    buffer = query.new_empty(size, len(table))
    learned = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (query, table, bias)
    )
    for start in range(0, len(query), size):
        rows = slice(start, min(start + size, len(query)))
        if learned:
            yield rows, torch.addmm(bias, query[rows], table.T)
        else:
            logits = buffer[: rows.stop - start]
            yield rows, torch.addmm(bias, query[rows], table.T, out=logits)


def log_total(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials of each row: (rows, K) -> (rows,)."""
    most = logits.amax(1, keepdim=True)
    return (logits - most).exp_().sum(1).log_() + most.squeeze(1)
