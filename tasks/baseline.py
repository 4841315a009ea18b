"""The model of independent columns that an evaluation compares with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.conditionals import Conditionals
from ar_models.independent import Independent
from ar_models.variables import Variable
from tasks import storage

FILES = 64
"""Files of encoded rows that are read, evenly chosen, if there are more."""

STEPS, STEP_ROWS, STEP_VALUES, RATE = 200, 4096, 2**19, 0.05
"""How mixtures are fitted: steps of Adam, rows and values in each at most, and its
first rate."""


def training_rows(prepared: str, about: Mapping[str, Any], count: int) -> Tensor:
    """Up to `count` encoded training rows, evenly chosen, (rows, dim).

    Args:
        prepared: Folder of a prepared dataset.
        about: Its manifest.
        count: How many rows, at most.
    """
    files = sorted(
        (entry["path"], entry["rows"])
        for entry in about["files"]
        if entry["path"].startswith("encoded/train/") and entry["rows"]
    )
    files = files[:: math.ceil(len(files) / FILES)]
    every = max(1, math.ceil(sum(rows for _, rows in files) / count))
    return torch.cat(
        [read(storage.join(prepared, path))[::every] for path, _ in files]
    ).contiguous()


def read(path: str) -> Tensor:
    """The encoded rows of an Arrow file, (rows, dim)."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        column = pa.ipc.open_file(source).read_all().column("x").combine_chunks()
    x = column.flatten().to_numpy(zero_copy_only=True)
    return torch.from_numpy(x.reshape(-1, column.type.list_size).astype(np.float32))


def fit(variables: Sequence[Variable], x: Tensor) -> Independent:
    """The likeliest model of independent variables for the rows `x` (rows, dim).

    Codes have their frequencies; mixtures are fitted by Adam.
    """
    model = Independent(with_frequencies(variables, x)).eval()
    mixtures = [i for i, v in enumerate(variables) if v.kind in ("integer", "real")]
    if not mixtures:
        return model
    layout = model.layout.select(mixtures)
    bias = model.bias.detach()[layout.places].requires_grad_()
    optimizer = torch.optim.Adam([bias], lr=RATE)
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
        model.bias[layout.places] = bias
    return model


def with_frequencies(variables: Sequence[Variable], x: Tensor) -> tuple[Variable, ...]:
    """The variables with the frequencies of their codes in some rows (rows, dim).

    The places of a list and the pixels of images share those of all of them. What was
    known of a variable counts as much as one row for each of its codes.
    """
    return tuple(
        replace(variable, frequencies=frequencies(variable, x[:, i].numpy()))
        if variable.kind in ("binary", "categorical")
        else variable
        for i, variable in enumerate(variables)
    )


def frequencies(variable: Variable, codes: NDArray[np.float32]) -> tuple[float, ...]:
    """The shares of a variable's codes among its values (rows,), NaN where absent."""
    size = variable.size
    known = np.asarray(variable.frequencies or [1 / size] * size)
    present = codes[~np.isnan(codes)].astype(np.int64)
    counts = np.bincount(present, minlength=size) + size * known / known.sum()
    return tuple((counts / counts.sum()).tolist())
