"""One of two workers: the gradients of every family, exchanged as in training.

python -m tests.support.gradients RANK MEETING OUTPUT

MEETING is a file through which the workers find each other. Rank 0 writes the
gradients to OUTPUT, by family, kind of variables and parameter.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from tasks.data.batches import Batch
from tasks.training.trainer import Trainer
from tests.support.models import KINDS, LEARNED, observations, random_model
from tests.support.training import train_config

ROWS, FIRST = 11, 4
"""Rows of the global batch, and how many of them the first of two workers gets."""


def gradients(
    model: AutoregressiveModel, rows: Tensor, *, rank: int = 0, world: int = 1
) -> dict[str, Tensor]:
    """Return the gradients of this worker's share of a global batch by parameter."""
    config = train_config(precision="fp32")
    trainer = Trainer(model, config, steps=1, rank=rank, world=world)
    # What is random in train mode is drawn for each worker anew.
    trainer.model.eval()
    trainer.loss(Batch(rows, ROWS)).backward()
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def main(rank: int, meeting: str, output: str) -> None:
    """Join the other worker and compute the gradients of all families."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2
    )
    found = {}
    for family, kind in LEARNED:
        model = random_model(family, KINDS[kind])
        x = observations(model, ROWS)
        share = x[FIRST:] if rank else x[:FIRST]
        for name, gradient in gradients(model, share, rank=rank, world=2).items():
            found[f"{family} {kind} {name}"] = gradient.clone()
    if rank == 0:
        save_file(found, Path(output))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
