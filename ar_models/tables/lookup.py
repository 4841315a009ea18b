"""Search for values among known ones."""

import numpy as np


def lookup(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the indices of `values` in `known`, -1 where they are not in it."""
    if len(known) == 0:
        return np.full(len(values), -1)
    order = np.argsort(known, kind="stable")
    ranked = known[order]
    narrow = known.dtype == np.int64 and int(ranked[-1]) - int(ranked[0]) < 4096
    if narrow:
        # A table over the whole range is far quicker than a search.
        low, high = int(ranked[0]), int(ranked[-1])
        table = np.full(high - low + 1, -1)
        table[ranked - low] = order
        inside = (values >= low) & (values <= high)
        if inside.all():
            places: np.ndarray = table[values - low]
            return places
        return np.where(inside, table[np.clip(values, low, high) - low], -1)
    place = np.minimum(np.searchsorted(ranked, values), len(ranked) - 1)
    return np.where(ranked[place] == values, order[place], -1)
