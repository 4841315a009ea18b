"""Python loops as machine code, for what is too small for an operation of its own."""

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
"""Sums are in any order, and a product and a sum may be rounded once, as in libraries
for matrices. What was kept on disk does not notice a change of these."""


def jit(function: F) -> F:
    """A function as machine code, kept on disk where there is a place to write.

    It is made when the function is called with arrays of new types for the first time.
    """
    made: Any  # called as the function is
    try:
        made = numba.njit(cache=True, **JIT_OPTIONS)(function)
    except RuntimeError:  # neither this folder nor the user's own can be written
        made = numba.njit(**JIT_OPTIONS)(function)
    result: F = made
    return result


def inlined(function: F) -> F:
    """Compile a function into each kernel that calls it.

    Arguments that are functions, too, become part of the kernel, and the compiler sees
    that arrays allocated here and there do not overlap: without that it computes one
    number at a time.
    """
    compiled: F = numba.njit(inline="always", **JIT_OPTIONS)(function)
    return compiled


MIN_ELEMENTS = 2**13
"""Numbers from which loops are worth their start."""


def use_kernel(numbers: Tensor, times: int = 1) -> bool:
    """Whether a loop may take the place of operations on these numbers, and gains.

    Args:
        numbers: What it would take.
        times: How many numbers it makes of each.
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
