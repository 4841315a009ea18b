"""Enumeration of the codes that several discrete variables can have together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ar_models.variables import Variable

MAX_COMBINATIONS = 1024
"""Maximum number of combinations of unknown codes that are all weighed."""


def combinations(
    variables: Sequence[Variable],
    free: NDArray[np.int64],
    most: int = MAX_COMBINATIONS,
) -> NDArray[np.float32] | None:
    """Return all combinations of the codes of free variables.

    A variable is NaN where its parent, if that is free too, excludes it; a parent that
    is not free is taken to admit it.

    Args:
        variables: Descriptions of all variables.
        free: Indices of the free ones, ascending.
        most: Maximum number of combinations.

    Returns:
        Codes (combinations, free variables), or None if there are more of them or a
        variable has no codes.
    """
    found = np.zeros((1, 0), np.float32)
    place = {int(i): k for k, i in enumerate(free)}
    for i in free.tolist():
        variable = variables[i]
        if not variable.size:
            return None
        present = np.ones(len(found), bool)
        if variable.parent in place:
            parent = found[:, place[variable.parent]]
            present = parent == variable.parent_code
            if variable.at_least:
                present = parent >= variable.parent_code
        if int(present.sum()) * variable.size + int((~present).sum()) > most:
            return None
        codes = np.arange(variable.size, dtype=np.float32)
        with_code = np.column_stack(
            [found[present].repeat(variable.size, 0), np.tile(codes, present.sum())]
        )
        without = np.column_stack(
            [found[~present], np.full((~present).sum(), np.nan, np.float32)]
        )
        found = np.concatenate([with_code, without]).astype(np.float32)
    return found
