"""The baseline of an evaluation: a model of independent columns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.families.independent import Independent
from ar_models.variables import Variable
from tasks.data.prepared import list_files
from tasks.runtime import storage

FILES = 64
"""Maximum number of files of encoded rows that are read, evenly spaced."""

STEPS = 200
"""Number of steps of Adam that fit the mixtures."""

STEP_ROWS, STEP_VALUES = 4096, 2**19
"""Maximum number of rows, and of their values, in a step."""

LEARNING_RATE = 0.05
"""Initial learning rate, which decays to 0 by a cosine schedule."""


def read_training_rows(prepared: str, about: Mapping[str, Any], count: int) -> Tensor:
    """Read up to `count` encoded training rows, evenly spaced, (rows, dim).

    Args:
        prepared: Directory of a prepared dataset.
        about: Its manifest.
        count: Maximum number of rows.
    """
    files = list_files(about, "encoded/train/")
    files = files[:: math.ceil(len(files) / FILES)]
    every = max(1, math.ceil(sum(rows for _, rows in files) / count))
    return torch.cat(
        [_read(storage.join(prepared, path))[::every] for path, _ in files]
    ).contiguous()


def _read(path: str) -> Tensor:
    """Read the encoded rows of an Arrow file, (rows, dim)."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        column = pa.ipc.open_file(source).read_all().column("x").combine_chunks()
    x = column.flatten().to_numpy(zero_copy_only=True)
    return torch.from_numpy(x.reshape(-1, column.type.list_size).astype(np.float32))


def fit(variables: Sequence[Variable], x: Tensor) -> Independent:
    """Fit a model of independent variables to rows by maximum likelihood.

    Codes get their frequencies; mixtures are fitted by Adam.

    Args:
        variables: The variables.
        x: Encoded rows, (rows, dim).
    """
    model = Independent(with_frequencies(variables, x), Independent.Settings()).eval()
    mixtures = [i for i, v in enumerate(variables) if v.kind in ("integer", "real")]
    if not mixtures:
        return model
    layout = model.layout.select(mixtures).train()
    bias = model.bias.detach()[layout.source_index].requires_grad_()
    optimizer = torch.optim.Adam([bias], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(0)
    values = x[:, mixtures]
    count = min(len(x), STEP_ROWS, max(STEP_VALUES // len(mixtures), 1))
    for _ in range(STEPS):
        rows = torch.randint(len(x), (count,), generator=generator)
        conditionals = Conditionals(layout, bias.expand(len(rows), -1))
        loss = -conditionals.log_prob(values[rows]).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        model.bias[layout.source_index] = bias
    return model


def with_frequencies(variables: Sequence[Variable], x: Tensor) -> tuple[Variable, ...]:
    """Return the variables with the frequencies of their codes among rows.

    The elements of a list and the pixels of images are described by common frequencies
    before; these count as much as one row for each code.

    Args:
        variables: The variables.
        x: Encoded rows, (rows, dim).
    """
    return tuple(
        replace(variable, frequencies=_frequencies(variable, x[:, i].numpy()))
        if variable.kind in ("binary", "categorical")
        else variable
        for i, variable in enumerate(variables)
    )


def _frequencies(variable: Variable, codes: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the share of each code among values, (rows,), NaN where absent."""
    size = variable.size
    known = np.asarray(variable.frequencies or [1 / size] * size)
    present = codes[~np.isnan(codes)].astype(np.int64)
    counts = np.bincount(present, minlength=size) + size * known / known.sum()
    return tuple((counts / counts.sum()).tolist())
