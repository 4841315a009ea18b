"""What a model says about encoded rows, and how strange that makes them."""

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
