"""Python loops as machine code, for what is too small for an operation of its own."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

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
