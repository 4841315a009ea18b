"""The model of independent columns that an evaluation compares with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ar_models.conditionals import Conditionals
from ar_models.independent import Independent
from ar_models.variables import Variable
from tasks import storage

FILES = 64
"""Files of encoded rows that are read, evenly chosen, if there are more."""

STEPS, STEP_ROWS, RATE = 200, 4096, 0.05
"""How mixtures are fitted: steps of Adam, rows in each, and its first rate."""


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

    Codes keep the frequencies in all training rows, with which they start; mixtures
    are fitted by Adam.
    """
    model = Independent(variables)
    mixtures = [i for i, v in enumerate(variables) if v.kind in ("integer", "real")]
    if not mixtures:
        return model
    layout = model.layout.select(mixtures)
    bias = model.bias.detach()[layout.places].requires_grad_()
    optimizer = torch.optim.Adam([bias], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(0)
    values = x[:, mixtures]
    for _ in range(STEPS):
        rows = torch.randint(len(x), (min(len(x), STEP_ROWS),), generator=generator)
        conditionals = Conditionals(layout, bias.expand(len(rows), -1))
        loss = -conditionals.log_prob(values[rows]).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        model.bias[layout.places] = bias
    return model.eval()
