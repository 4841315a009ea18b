"""Tail probabilities: how extreme the values of columns are.

The tail probability of a number is twice the probability of its side, that of a code
the probability of all codes at most as likely, so units and the order of codes do not
matter.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.scoring.column_log_prob import sum_by_column
from ar_models.tables.columns import IN_SUPPORT, VIOLATION
from ar_models.tables.encoder import Encoded
from ar_models.variables import Variable

Floats = NDArray[np.float64]


@torch.inference_mode()
def tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
) -> Floats:
    """Return how extreme each column's value is given the columns before it.

    It is the exponential of `log_tail_probability`, which documents the arguments.
    """
    return np.exp(log_tail_probability(variables, conditionals, encoded, noise=noise))


@torch.inference_mode()
def log_tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
    log_prob: Tensor | None = None,
) -> Floats:
    """Return the log of the probability of a value at least as extreme.

    A column with several variables (state and value, digits, parts of a time) has the
    least of their tail probabilities, each given the variables before it, with Šidák's
    correction for their number k: 1 - (1 - p)^k. A cell out of support has its share of
    the mass out of support.

    With `noise`, ties are divided at random and an absent variable has its noise as
    probability. The column's result is then uniform on [0, 1] if the model is right,
    given the columns before it, up to the mass out of support: it is a p-value, and
    columns are independent. Without noise, half of a tie counts (mid-p), absent
    variables are left out of the least, and k counts those present.

    Args:
        variables: The model's variables.
        conditionals: Conditionals of `encoded.x` in one ordering. Those of a family
            with `is_bound` depend on the whole row, and then nothing is uniform.
        encoded: The n rows.
        noise: Uniform numbers, (n, dim).
        log_prob: Log-probabilities of `encoded.x` by `conditionals`, (n, dim), if they
            are known already.

    Returns:
        Nats, (n, columns).
    """
    x = torch.from_numpy(encoded.x).to(conditionals.parameters.device)
    share = torch.full_like(x, 0.5) if noise is None else torch.from_numpy(noise).to(x)
    each = variable_log_tails(variables, conditionals, x, share, log_prob).double()
    count = sum_by_column(
        torch.ones_like(x) if noise is not None else ~x.isnan(), variables
    )
    absent = torch.full_like(each, torch.inf) if noise is None else share.double().log()
    each = torch.where(x.isnan(), absent, each)
    least = np.minimum(_min_by_column(each, variables), 0.0)
    tail = _sidak(least, np.maximum(count, 1))
    out_of_support = encoded.out_of_support != IN_SUPPORT
    if out_of_support.any():
        first = [v.column_index for v in variables].index
        at = [first(j) for j in range(tail.shape[1])]
        of_ties = share[:, at].double().log().cpu().numpy()
        # Reasons are equally probable, but violations less so than all others.
        reasons = np.where(encoded.out_of_support == VIOLATION, 0.0, math.log(3))
        tail = np.where(out_of_support, encoded.log_abs_det + reasons + of_ties, tail)
    return tail


def variable_log_tails(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    x: Tensor,
    share: Tensor,
    log_prob: Tensor | None,
) -> Tensor:
    """Return the log tail probability of each variable, (n, dim), NaN where absent.

    Args:
        variables: The model's variables.
        conditionals: Conditionals of `x` in one ordering.
        x: Variables of the rows, (n, dim).
        share: Share of the ties that counts as at least as extreme, (n, dim).
        log_prob: Log-probabilities of `x`, (n, dim), if they are known already.
    """
    less, equal, more = conditionals.log_tail_probs(x, log_prob).unbind(-1)
    low = torch.logaddexp(less, equal + share.log())
    high = torch.logaddexp(more, equal + torch.log1p(-share))
    number = torch.tensor([v.kind in ("integer", "real") for v in variables])
    two_sided = torch.minimum(low, high) + math.log(2)
    return torch.where(number.to(x.device), two_sided, low)


def _min_by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """Take the minimum over the variables of each column: (n, dim) -> (n, columns)."""
    column = torch.tensor([v.column_index for v in variables], device=values.device)
    shape = len(values), int(column.max()) + 1
    least = values.new_full(shape, torch.inf)
    least.scatter_reduce_(1, column.expand_as(values), values, "amin")
    return np.asarray(least.cpu().numpy())


def _sidak(log_p: Floats, count: Floats) -> Floats:
    """Return log(1 - (1 - p)^count), also where p underflows a float."""
    result = log_p.copy()
    several = np.nonzero(count > 1)
    log_p, count = log_p[several], count[several]
    small = log_p < -15
    with np.errstate(divide="ignore"):
        exact = np.log(-np.expm1(count * np.log1p(-np.exp(np.where(small, -1, log_p)))))
    result[several] = np.where(small, log_p + np.log(count), exact)
    return result
