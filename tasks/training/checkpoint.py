"""The state of a training run, and its files in a checkpoint."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.runtime import manifest, receipts, storage

STATE = "state.json"
WEIGHTS = "model.safetensors"
EMA_WEIGHTS = "ema.safetensors"
BEST_WEIGHTS = "best.safetensors"
OPTIMIZER = "optimizer.safetensors"
LOSS_WEIGHTS = "loss_weights.safetensors"

HASHES = "hashes-{rank}.json"
"""Receipt of the files that a rank wrote to a checkpoint."""

EpochMetrics = dict[str, float]
"""Metrics of an epoch: epoch, train_nll and valid_nll (nats per row), learning_rate,
rows_per_s (of the training steps) and seconds."""


@dataclass
class TrainerState:
    """The progress of a training run; equal on all ranks.

    Attributes:
        epoch: Number of finished epochs.
        batch: Number of finished global batches of the current epoch.
        step: Number of finished global batches since the start.
        epoch_seconds: Time spent on the steps of the current epoch.
        seconds: Time spent on the finished epochs, over all restarts.
        best_nll: Lowest validation NLL so far, in nats per row.
        best_epoch: Epoch with the lowest validation NLL, counted from 1.
        history: Metrics of each finished epoch.
        stopped: Why training ended, or None.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_nll: float = math.inf
    best_epoch: int = 0
    history: list[EpochMetrics] = field(default_factory=list)
    stopped: Literal["epochs", "patience", "time"] | None = None


def read_state(folder: Path) -> TrainerState:
    """Read the state of the training run that wrote a checkpoint."""
    return TrainerState(**json.loads((folder / STATE).read_text()))


def write_state(folder: Path, state: TrainerState) -> None:
    """Write the state of a training run to a checkpoint."""
    (folder / STATE).write_text(json.dumps(asdict(state)))


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors, which need not be contiguous, to a safetensors file."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def save_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Write the moments of an optimizer to a safetensors file."""
    save_tensors(
        path,
        {
            f"{index}.{name}": value
            for index, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        },
    )


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Restore the moments of an optimizer from a safetensors file."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(path).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def seal(folder: Path, rank: int, world: int) -> None:
    """Write the hashes of all files that a rank has written to a checkpoint.

    Args:
        folder: Folder of the checkpoint, which other ranks may share.
        rank: The rank.
        world: Number of ranks that write the checkpoint.
    """
    own = {f"rank-{rank}.json"}
    if rank == 0:
        own |= {path.name for path in folder.glob("*.safetensors")} | {STATE}
    files = [manifest.file_entry(str(folder), name, 0) for name in sorted(own)]
    path = str(folder / HASHES.format(rank=rank))
    receipts.write(path, {"rank": rank, "world": world}, {"files": files})


def is_whole(folder: str) -> bool:
    """Return whether a checkpoint has all files that its ranks wrote, undamaged.

    Args:
        folder: Folder of the checkpoint, local or S3.
    """
    first = receipts.read(storage.join(folder, HASHES.format(rank=0)))
    if first is None:
        return False
    world = int(first["bound"]["world"])
    return all(
        receipts.read_whole(
            folder, HASHES.format(rank=rank), {"rank": rank, "world": world}
        )
        for rank in range(world)
    )


def save_sums(folder: Path, rank: int, sums: Tensor) -> None:
    """Write the sums of a rank in the current epoch to a checkpoint."""
    content = [float(value) for value in sums]
    (folder / f"rank-{rank}.json").write_text(json.dumps(content))


def load_sums(folder: Path, rank: int, world: int) -> list[float]:
    """Read the sums of a rank from a checkpoint, whatever number of ranks wrote it.

    Args:
        folder: Folder of the checkpoint.
        rank: Rank that takes over.
        world: Number of ranks now; each takes over the NLL of every world-th rank.
    """
    count = len(list(folder.glob("rank-*.json")))
    parts = [
        json.loads((folder / f"rank-{number}.json").read_text())
        for number in range(count)
    ]
    sums: list[float] = parts[0]
    sums[0] = math.fsum(part[0] for part in parts[rank::world])
    return sums
