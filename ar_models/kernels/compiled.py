"""Compilation of kernels for CPUs, and the rule that decides when to use them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])

JIT_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc"},
    "error_model": "numpy",
}
"""Sums may be reordered and products fused with sums, as in matrix libraries. Code that
is cached on disk is not compiled again when these change."""


def jit(function: F) -> F:
    """Compile a function at its first call, cached on disk where that is writable."""
    compiled: F
    try:
        compiled = numba.njit(cache=True, **JIT_OPTIONS)(function)
    except RuntimeError:  # neither this directory nor the user's is writable
        compiled = numba.njit(**JIT_OPTIONS)(function)
    return compiled


def inlined(function: F) -> F:
    """Compile a function into each kernel that calls it.

    Arguments that are functions, too, become part of the kernel, and the compiler sees
    that arrays allocated here and there do not overlap: without that it computes one
    number at a time.
    """
    compiled: F = numba.njit(inline="always", **JIT_OPTIONS)(function)
    return compiled


MIN_ELEMENTS = 2**13
"""Minimum number of elements for which a kernel is faster than tensor operations."""


def use_kernel(numbers: Tensor, times: int = 1) -> bool:
    """Return whether a kernel can replace tensor operations and is faster.

    Args:
        numbers: The input of the kernel.
        times: Number of results for each element of the input.
    """
    return (
        not torch.compiler.is_exporting()
        and numbers.numel() * times >= MIN_ELEMENTS
        and numbers.device.type == "cpu"
        and numbers.dtype == torch.float32
        and not (torch.is_grad_enabled() and numbers.requires_grad)
    )


def run_kernel(
    kernel: Callable[..., None], *arguments: Tensor | float, shape: Sequence[int]
) -> Tensor:
    """Call a kernel that takes arguments and an array to fill with results.

    Args:
        kernel: A function compiled by `jit`.
        *arguments: Its arguments but the last; all are converted to float32.
        shape: Shape of the results.

    Returns:
        The results.
    """
    result = torch.empty(shape)
    arrays = [
        a.detach().float().contiguous().numpy()
        if isinstance(a, Tensor)
        else np.float32(a)
        for a in arguments
    ]
    kernel(*arrays, result.numpy())
    return result
