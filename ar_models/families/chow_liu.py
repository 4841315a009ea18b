"""Orderings along the strongest dependences in the data (Chow-Liu trees)."""

from collections.abc import Sequence

import numpy as np

from ar_models.variables import Variable

Array = np.ndarray

MAX_GROUP_CODES = 32
"""Maximum number of codes into which the values of a group are binned."""

MAX_CODES = 4096
"""Maximum number of codes of all groups together, if each has at least 4."""

BINS = 16
"""Quantile bins of a numeric variable with more distinct values."""

PRODUCT_CODES = 1024
"""Codes whose joint counts with all others are computed by one matrix product."""


def dependence_orderings(
    variables: Sequence[Variable], x: Array, orderings: int = 1
) -> list[list[int]]:
    """Return sequences of groups in which each group depends on one before it.

    The groups are the nodes of a complete graph, weighted by the mutual information of
    their binned values. Prim's algorithm grows a maximum spanning tree from a root and
    yields the groups in that order, so that each group comes after its parent in the
    tree, and strong dependences come early.

    Reference:
        Chow, Liu, Approximating discrete probability distributions with dependence
        trees, 1968. https://doi.org/10.1109/TIT.1968.1054142

    Args:
        variables: Descriptions of the columns of `x`.
        x: Observations (rows, dim), NaN where absent.
        orderings: Number of sequences, each from another root; the first root is the
            group with the most mutual information with the others.

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
    """Return a code for the values of each group, int64 (rows, groups).

    Args:
        variables: Descriptions of the columns of `x`.
        x: Observations (rows, dim), NaN where absent.
    """
    members: dict[int, list[int]] = {}
    for i, variable in enumerate(variables):
        members.setdefault(variable.group, []).append(i)
    columns = []
    most = max(4, min(MAX_GROUP_CODES, MAX_CODES // len(members)))
    for chain in members.values():
        codes = np.zeros(len(x), dtype=np.int64)
        for i in chain:
            own = _variable_codes(variables[i], x[:, i])
            codes = _most_frequent(codes * (own.max(initial=0) + 1) + own, most)
        columns.append(codes)
    return np.stack(columns, 1)


def _variable_codes(variable: Variable, values: Array) -> Array:
    """Return the codes of one variable's values, 0 where absent."""
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
    """Renumber codes by falling frequency; all beyond `most - 1` share the last."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    numbered: Array = np.minimum(rank[inverse], most - 1)
    return numbered


def mutual_information(codes: Array) -> Array:
    """Return the mutual information of every pair of columns, in nats, (n, n).

    The mean value for independent columns of these sizes is subtracted (Miller and
    Madow's correction), and negative values become 0, as does the diagonal.

    Args:
        codes: Non-negative integers (rows, n).
    """
    count = len(codes)
    sizes = codes.max(0, initial=0) + 1
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    one_hot = np.zeros((count, int(sizes.sum())), dtype=np.float32)
    np.put_along_axis(one_hot, codes + starts, 1.0, axis=1)
    share = one_hot.mean(0, dtype=np.float64)
    result = np.empty((len(sizes), len(sizes)))
    step = max(1, PRODUCT_CODES // MAX_GROUP_CODES)
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
    """Return the nodes in the order in which a maximum spanning tree grows.

    Args:
        weights: Weights of the edges (n, n), symmetric.
        root: Node from which the tree grows.
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
