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


def compiled(signature: str | None = None) -> Callable[[F], F]:
    """Makes machine code of a function, kept on disk where there is a place to write.

    Args:
        signature: Types of the arguments, if those of each call are not to be looked
            at.
    """

    def decorate(function: F) -> F:
        made: Any  # called as the function is
        try:
            made = numba.njit(signature, cache=True, **SETTINGS)(function)
        except RuntimeError:  # neither this folder nor the user's own can be written
            made = numba.njit(signature, **SETTINGS)(function)
        result: F = made
        return result

    return decorate
