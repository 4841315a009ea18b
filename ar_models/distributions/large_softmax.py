"""Softmax over many codes with factorised logits, computed in blocks of rows.

For n queries and K codes the logits are `query @ table.T + bias`. They are computed for
a block of rows at a time and used before the next block: what stays in the cache costs
a tenth of what goes through memory.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ar_models.distributions import softmax

MAX_CPU_LOGITS = 2**19
"""Maximum number of logits of a block on a CPU."""

MAX_DEVICE_LOGITS = 2**26
"""Maximum number of logits of a block on an accelerator, where few large operations
are faster."""


class _LogProb(torch.autograd.Function):
    """Log-probabilities of codes, whose backward pass computes the logits again.

    The products of the backward pass, not the logits, are in the type of an enclosing
    autocast. There is no second derivative.
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
        for rows, logits in _blocks(query, table, bias):
            chosen.append(logits.gather(1, codes[rows, None]).squeeze(1))
            totals.append(_logsumexp(logits))
        total = torch.cat(totals)
        ctx.save_for_backward(query, table, bias, codes, total)
        device = query.device.type
        autocast = torch.is_autocast_enabled(device)
        ctx.dtype = torch.get_autocast_dtype(device) if autocast else query.dtype
        return torch.cat(chosen) - total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, table, bias, codes, total = ctx.saved_tensors
        cast_query, cast_table = query.to(ctx.dtype), table.to(ctx.dtype)
        query_grad = torch.empty_like(query)
        table_grad, bias_grad = torch.zeros_like(table), torch.zeros_like(bias)
        for rows, logits in _blocks(query, table, bias):
            own = grad[rows, None]
            logits_grad = logits.sub_(total[rows, None]).exp_().mul_(-own)
            logits_grad.scatter_add_(1, codes[rows, None], own)
            bias_grad += logits_grad.sum(0)
            logits_grad = logits_grad.to(ctx.dtype)
            query_grad[rows] = logits_grad @ cast_table
            table_grad += logits_grad.T @ cast_query[rows]
        return query_grad, table_grad, bias_grad, None


def log_prob(query: Tensor, table: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Compute log-probabilities of codes, in nats.

    Args:
        query: (n, rank).
        table: A row per code, (K, rank).
        bias: (K,).
        codes: Integers in 0 … K - 1, (n,).

    Returns:
        (n,), differentiable once.
    """
    result: Tensor = _LogProb.apply(query, table, bias, codes)  # type: ignore[no-untyped-call] # torch does not annotate it
    return result


def entropy(query: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """Compute entropies (n,) in nats; arguments as for `log_prob`."""
    return _map_blocks(
        lambda rows, logits: softmax.entropy(logits), query, table, bias, ()
    )


def log_tail_probs(query: Tensor, table: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Compute log-probabilities of less, equally and more likely codes, (n, 3), nats.

    Arguments are those of `log_prob`.
    """

    def of_block(rows: slice, logits: Tensor) -> Tensor:
        return softmax.log_tail_probs(logits, logits.gather(1, codes[rows, None]))

    return _map_blocks(of_block, query, table, bias, (3,))


def _map_blocks(
    of_block: Callable[[slice, Tensor], Tensor],
    query: Tensor,
    table: Tensor,
    bias: Tensor,
    shape: tuple[int, ...],
) -> Tensor:
    """Apply a function to the logits of every block; (n, *shape)."""
    parts = [of_block(rows, logits) for rows, logits in _blocks(query, table, bias)]
    return torch.cat(parts) if parts else query.new_empty(0, *shape)


def _blocks(
    query: Tensor, table: Tensor, bias: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows and their logits (rows, K), which the caller may overwrite."""
    limit = MAX_CPU_LOGITS if query.device.type == "cpu" else MAX_DEVICE_LOGITS
    size = min(max(1, limit // len(table)), max(1, len(query)))
    buffer = query.new_empty(size, len(table))
    needs_grad = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (query, table, bias)
    )
    for start in range(0, len(query), size):
        rows = slice(start, min(start + size, len(query)))
        if needs_grad:
            yield rows, torch.addmm(bias, query[rows], table.T)
        else:
            logits = buffer[: rows.stop - start]
            yield rows, torch.addmm(bias, query[rows], table.T, out=logits)


def _logsumexp(logits: Tensor) -> Tensor:
    """Compute logsumexp of each row, overwriting less memory than torch's does."""
    largest = logits.amax(1, keepdim=True)
    return (logits - largest).exp_().sum(1).log_() + largest.squeeze(1)
