"""What a model says about encoded rows, and how strange that makes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.autoregressive import AutoregressiveModel, mean_of_orderings
from ar_models.columns import PRESENT
from ar_models.conditionals import Conditionals
from ar_models.encoder import Encoded
from ar_models.variables import Variable

Floats = NDArray[np.float64]

Statistic = Literal["excess", "surprisal"]
STATISTICS: tuple[Statistic, ...] = ("excess", "surprisal")

TIE = 1e-4
"""Scores (nats) closer than this are equal: float32 sums depend on the batch."""


@dataclass(frozen=True)
class Judgement:
    """What a model says about a batch of n rows.

    Attributes:
        x: The rows' variables, (n, dim).
        conditionals: Of `x`, in the first ordering.
        log_prob: Of each column given those before it, (n, columns), nats.
        contributions: What each column adds to the anomaly score, (n, columns), nats.
    """

    x: Tensor
    conditionals: Conditionals
    log_prob: Floats
    contributions: Floats


@torch.inference_mode()
def log_probs(model: AutoregressiveModel, encoded: Encoded) -> Floats:
    """Log-probability of each column of encoded rows, (n, columns), nats."""
    x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
    network = by_column(model.variable_log_prob(x), model.variables)
    return np.asarray(encoded.log_volume + network)


@torch.inference_mode()
def judge(
    model: AutoregressiveModel, encoded: Encoded, statistic: Statistic
) -> Judgement:
    """What `model` says about encoded rows.

    The surprisal of a column is -log_prob. Its excess is the surprisal less what was to
    be expected, the entropy, both taken variable by variable, given the variables
    before it in the row, over those that are present. So each term has the expectation
    zero under the model, and a missing value is weighed against the chance of one only.
    Real columns are compared in the encoder's coordinates, where changes of units
    cancel. What escaped is no network output: its excess is its surprisal.
    """
    x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
    conditionals = [model.conditionals(x, k) for k in range(model.orderings)]
    each = torch.stack([c.log_prob(x) for c in conditionals])
    if model.is_bound:  # these do not add up to it
        each = model.variable_log_prob(x).unsqueeze(0)
    network = by_column(mean_of_orderings(each), model.variables)
    log_prob = encoded.log_volume + network
    if statistic == "surprisal":
        return Judgement(x, conditionals[0], log_prob, -log_prob)
    weights = each.sum(-1).softmax(0).unsqueeze(-1)
    entropies = torch.stack([c.entropy() for c in conditionals])
    expected = (weights * entropies).sum(0).masked_fill(x.isnan(), 0.0)
    excess = np.where(
        encoded.escapes == PRESENT,
        -network - by_column(expected, model.variables),
        -encoded.log_volume,
    )
    return Judgement(x, conditionals[0], log_prob, excess)


@torch.inference_mode()
def tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
) -> Floats:
    """How extreme each column's value is, given the columns before it, (n, columns).

    As `log_tail_probability`, of which this is the exponential.
    """
    return np.exp(log_tail_probability(variables, conditionals, encoded, noise=noise))


@torch.inference_mode()
def log_tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
) -> Floats:
    """Log of the probability of something at least as extreme, (n, columns), nats.

    Of a number twice the probability of its side, of a code that of all codes at most
    as likely; so units and the order of codes do not matter. Of a column with several
    variables (state and value, digits, parts of a time) the least of theirs, each given
    the variables before it, corrected for their number as Šidák's: 1 - (1 - p)^k. The
    place where a column escaped has the mass of escapes.

    With `noise` ties are divided at random and what is absent has its noise as
    probability. Then each column's is uniform on [0, 1] where the model is right, given
    the columns before it, to within the mass of escapes: a p-value, and columns are
    independent. Without, half of a tie counts (mid-p), what is absent is left out of
    the least, and k counts what is present.

    Args:
        variables: Of the model.
        conditionals: Of `encoded.x`, in one ordering. Those of a family with `is_bound`
            know the whole row, and then nothing is uniform.
        encoded: The n rows.
        noise: Uniform numbers (n, dim).
    """
    x = torch.from_numpy(encoded.x).to(conditionals.parameters.device)
    share = torch.full_like(x, 0.5) if noise is None else torch.from_numpy(noise).to(x)
    each = _log_tails_of_variables(variables, conditionals, x, share).double()
    count = by_column(
        torch.ones_like(x) if noise is not None else ~x.isnan(), variables
    )
    absent = torch.full_like(each, torch.inf) if noise is None else share.double().log()
    each = torch.where(x.isnan(), absent, each)
    least = np.minimum(_least_by_column(each, variables), 0.0)
    tail = _sidak(least, np.maximum(count, 1))
    escaped = encoded.escapes != PRESENT
    if escaped.any():
        first = [v.group for v in variables].index
        at = [first(j) for j in range(tail.shape[1])]
        of_ties = share[:, at].double().log().cpu().numpy()
        tail = np.where(escaped, encoded.log_volume + math.log(3) + of_ties, tail)
    return tail


def _log_tails_of_variables(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    x: Tensor,
    share: Tensor,
) -> Tensor:
    """Of each variable, with a share of what is as extreme, (n, dim); NaN if absent."""
    less, equal, more = conditionals.log_tails(x).unbind(-1)
    low = torch.logaddexp(less, equal + share.log())
    high = torch.logaddexp(more, equal + torch.log1p(-share))
    number = torch.tensor([v.kind in ("integer", "real") for v in variables])
    two_sided = torch.minimum(low, high) + math.log(2)
    return torch.where(number.to(x.device), two_sided, low)


def _least_by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """The least of the variables of each column: (n, dim) -> (n, columns)."""
    column = torch.tensor([v.group for v in variables], device=values.device)
    shape = len(values), int(column.max()) + 1
    least = values.new_full(shape, torch.inf)
    least.scatter_reduce_(1, column.expand_as(values), values, "amin")
    return np.asarray(least.cpu().numpy())


def _sidak(log_p: Floats, count: Floats) -> Floats:
    """Log of 1 - (1 - p)^count, also where p is far below what a float tells from 0."""
    small = log_p < -15
    with np.errstate(divide="ignore"):
        exact = np.log(-np.expm1(count * np.log1p(-np.exp(np.where(small, -1, log_p)))))
        far = log_p + np.log(count)
    return np.where(small, far, exact)


def by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """Sums over the variables of each column: (n, dim) -> (n, columns), float64."""
    column = torch.tensor([v.group for v in variables], device=values.device)
    total = torch.zeros(
        len(values), int(column.max()) + 1, dtype=torch.float64, device=values.device
    )
    return np.asarray(total.index_add_(1, column, values.double()).cpu().numpy())


def rank(
    scores: Floats, reference: Floats | None, threshold: float
) -> dict[str, pa.Array]:
    """Where anomaly scores stand among those of calibration rows.

    Args:
        scores: Of n rows, nats.
        reference: Of the calibration rows, ascending; None if there are none.
        threshold: Severity from which a row is an anomaly.

    Returns:
        p_value, severity and is_anomaly, each (n,); null without a reference.
    """
    if reference is None or len(reference) == 0:
        unknown = pa.nulls(len(scores), pa.float64())
        flags = pa.nulls(len(scores), pa.bool_())
        return {"p_value": unknown, "severity": unknown, "is_anomaly": flags}
    count = len(reference)
    stranger = count - np.searchsorted(reference, scores - TIE, side="left")
    severity = 100.0 * (count - stranger) / count
    return {
        "p_value": pa.array((1.0 + stranger) / (1.0 + count)),
        "severity": pa.array(severity),
        "is_anomaly": pa.array(severity >= threshold),
    }
