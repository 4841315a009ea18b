"""Log-probabilities of the columns of encoded rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.families.base import AutoregressiveModel
from ar_models.families.orderings import mean_of_orderings
from ar_models.tables.encoder import Encoded
from ar_models.variables import Variable

Floats = NDArray[np.float64]


@torch.inference_mode()
def log_probs(model: AutoregressiveModel, encoded: Encoded) -> Floats:
    """Return the log-probability of each column given those before it.

    Args:
        model: In eval mode.
        encoded: The n rows.

    Returns:
        Nats, (n, columns), averaged over the orderings of the model.
    """
    x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
    if encoded.unknown is None:
        log_prob = model.variable_log_prob(x)
    else:
        conditionals = ordering_conditionals(model, encoded, x)
        log_prob = mean_of_orderings(torch.stack([c.log_prob(x) for c in conditionals]))
    return np.asarray(encoded.log_abs_det + sum_by_column(log_prob, model.variables))


def ordering_conditionals(
    model: AutoregressiveModel, encoded: Encoded, x: Tensor
) -> list[Conditionals]:
    """Return the conditionals of encoded rows in each ordering of a model.

    Args:
        model: In eval mode.
        encoded: The n rows, whose unknown cells are marginalised.
        x: Their variables on the model's device, (n, dim).
    """
    if encoded.unknown is None:
        return [model.conditionals(x, k) for k in range(model.orderings)]
    columns = [variable.column_index for variable in model.variables]
    known = torch.from_numpy(~encoded.unknown[:, columns]).to(x.device)
    return [model.marginal_conditionals(x, known, k) for k in range(model.orderings)]


def padded_conditionals(
    model: AutoregressiveModel, encoded: Encoded, x: Tensor
) -> list[Conditionals]:
    """Return the conditionals of `ordering_conditionals` from padded batches.

    In bf16 on processors, PyTorch compiles a program for each new number of rows, which
    takes milliseconds per product, and caches a thousand of them. Batches are therefore
    padded to a few round sizes there.
    """
    rows = len(x)
    padded = padded_size(rows)
    is_bf16 = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if padded == rows or not is_bf16:
        return ordering_conditionals(model, encoded, x)
    at = np.minimum(np.arange(padded), rows - 1)
    unknown = None if encoded.unknown is None else encoded.unknown[at]
    wide = replace(encoded, x=encoded.x[at], unknown=unknown)
    conditionals = ordering_conditionals(model, wide, x[torch.from_numpy(at)])
    return [Conditionals(c.layout, c.parameters[:rows]) for c in conditionals]


def padded_size(rows: int) -> int:
    """Round a number of rows up to three significant binary digits."""
    step = 1 << max(0, rows.bit_length() - 3)
    return -(-rows // step) * step


def sum_by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """Sum over the variables of each column: (n, dim) -> (n, columns), float64."""
    column = torch.tensor([v.column_index for v in variables], device=values.device)
    total = torch.zeros(
        len(values), int(column.max()) + 1, dtype=torch.float64, device=values.device
    )
    return np.asarray(total.index_add_(1, column, values.double()).cpu().numpy())
