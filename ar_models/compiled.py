"""Python loops as machine code, for what is too small for an operation of its own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])

SETTINGS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc"},
    "error_model": "numpy",
}
"""Sums are in any order, and a product and a sum may be rounded once, as in libraries
for matrices. What was kept on disk does not notice a change of these."""


def compiled(function: F) -> F:
    """A function as machine code, kept on disk where there is a place to write.

    It is made when the function is called with arrays of new types for the first time.
    """
    made: Any  # called as the function is
    try:
        made = numba.njit(cache=True, **SETTINGS)(function)
    except RuntimeError:  # neither this folder nor the user's own can be written
        made = numba.njit(**SETTINGS)(function)
    result: F = made
    return result


MANY = 2**13
"""Numbers from which loops are worth their start."""


def loops_pay(numbers: Tensor, times: int = 1) -> bool:
    """Whether a loop may take the place of operations on these numbers, and gains.

    Args:
        numbers: What it would take.
        times: How many numbers it makes of each.
    """
    return (
        not torch.compiler.is_exporting()
        and numbers.numel() * times >= MANY
        and numbers.device.type == "cpu"
        and numbers.dtype == torch.float32
        and not (torch.is_grad_enabled() and numbers.requires_grad)
    )


def by_loop(
    loop: Callable[..., None],
    numbers: Tensor,
    *arguments: Tensor | float,
    results: int = 1,
    shape: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    """What a loop gives that takes its arguments and then places for results.

    Args:
        loop: A compiled one.
        numbers: Its first argument, (…, n).
        arguments: The next ones; numbers become float32.
        results: How many it gives.
        shape: Of each; (…) where it is None.
    """
    shape = numbers.shape[:-1] if shape is None else shape
    found = [numbers.new_empty(shape) for _ in range(results)]
    own = [
        a.detach().float().contiguous().numpy()
        if isinstance(a, Tensor)
        else np.float32(a)
        for a in (numbers, *arguments)
    ]
    loop(*own, *(result.numpy() for result in found))
    return tuple(found)
