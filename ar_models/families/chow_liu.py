"""Orderings that follow the dependences in the data."""

from collections.abc import Sequence

import numpy as np

from ar_models.variables import Variable

Array = np.ndarray

CODES = 32
"""Codes into which the values of a group are binned, at most; …"""

ALL_CODES = 4096
"""… fewer, where all groups together would have more than this, but at least 4."""

BINS = 16
"""Quantile bins of a number with more distinct values."""

PRODUCT = 1024
"""Codes whose joint counts with all others are computed at once."""


def dependence_orderings(
    variables: Sequence[Variable], x: Array, orderings: int = 1
) -> list[list[int]]:
    """Sequences of groups in which each depends much on one before it.

    The groups are the nodes of a complete graph, weighted by the mutual information of
    their binned values. Prim's algorithm grows its greatest spanning tree from a root,
    and takes the groups in that order: so each comes after its parent in the tree, and
    strong dependences come early.

    Reference:
        Chow, Liu, Approximating discrete probability distributions with dependence
        trees, 1968. https://doi.org/10.1109/TIT.1968.1054142

    Args:
        variables: What each column of `x` is.
        x: Some rows (rows, dim), NaN where absent.
        orderings: How many sequences; each has another root, the first the group that
            tells most about the others.

    Raises:
        ValueError: There are more orderings than groups.
    """
    groups = list(dict.fromkeys(variable.group for variable in variables))
    if orderings > len(groups):
        raise ValueError(
            f"ordering 'dependence' gives at most as many orderings as there are "
            f"columns, {len(groups)}, got orderings={orderings}"
        )
    information = mutual_information(group_codes(variables, x))
    roots = np.argsort(-information.sum(0), kind="stable")[:orderings]
    return [[groups[k] for k in grow_tree(information, root)] for root in roots]


def group_codes(variables: Sequence[Variable], x: Array) -> Array:
    """A code for the values of each group: (rows, dim) -> (rows, groups), int64."""
    members: dict[int, list[int]] = {}
    for i, variable in enumerate(variables):
        members.setdefault(variable.group, []).append(i)
    columns = []
    most = max(4, min(CODES, ALL_CODES // len(members)))
    for chain in members.values():
        codes = np.zeros(len(x), dtype=np.int64)
        for i in chain:
            own = _variable_codes(variables[i], x[:, i])
            codes = _most_frequent(codes * (own.max(initial=0) + 1) + own, most)
        columns.append(codes)
    return np.stack(columns, 1)


def _variable_codes(variable: Variable, values: Array) -> Array:
    """Codes of one variable's values; 0 is absent."""
    absent = np.isnan(values)
    present = values[~absent]
    if variable.kind in ("integer", "real") and len(np.unique(present)) > BINS:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
    else:
        codes = np.searchsorted(np.unique(present), values)
    codes = np.asarray(codes, dtype=np.int64)
    codes[absent] = -1
    return codes + 1


def _most_frequent(codes: Array, most: int) -> Array:
    """The codes numbered by falling frequency; beyond so many they share the last."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    numbered: Array = np.minimum(rank[inverse], most - 1)
    return numbered


def mutual_information(codes: Array) -> Array:
    """Of every pair of columns, in nats: (rows, n) -> (n, n), zeros on the diagonal.

    What columns of such sizes would have by chance is subtracted, in the mean (Miller
    and Madow's correction); negative rests become 0.
    """
    count = len(codes)
    sizes = codes.max(0, initial=0) + 1
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    one_hot = np.zeros((count, int(sizes.sum())), dtype=np.float32)
    np.put_along_axis(one_hot, codes + starts, 1.0, axis=1)
    share = one_hot.mean(0, dtype=np.float64)
    result = np.empty((len(sizes), len(sizes)))
    step = max(1, PRODUCT // CODES)
    for first in range(0, len(sizes), step):
        last = min(first + step, len(sizes))
        rows = slice(starts[first], starts[last] if last < len(sizes) else None)
        joint = (one_hot[:, rows].T @ one_hot).astype(np.float64) / count
        chance = np.outer(share[rows], share)
        ratio = np.divide(joint, chance, out=np.ones_like(joint), where=joint > 0)
        terms = np.add.reduceat(joint * np.log(ratio), starts, axis=1)
        result[first:last] = np.add.reduceat(terms, starts[first:last] - starts[first])
    result -= np.outer(sizes - 1, sizes - 1) / (2 * count)
    np.fill_diagonal(result, 0.0)
    return np.maximum(result, 0.0)


def grow_tree(weights: Array, root: int) -> list[int]:
    """The nodes in the order in which the greatest spanning tree grows from `root`.

    Args:
        weights: Of the edges, (n, n), symmetric.
        root: The first node.
    """
    order = [int(root)]
    best = weights[root].copy()
    best[root] = -np.inf
    for _ in range(1, len(weights)):
        node = int(best.argmax())
        order.append(node)
        taken = np.isneginf(best)
        best = np.maximum(best, weights[node])
        best[taken] = -np.inf
        best[node] = -np.inf
    return order
