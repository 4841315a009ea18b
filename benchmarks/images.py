"""How well anomalous images are told from ordinary ones, by likelihood and by ratios.

    python benchmarks/images.py MNIST_FOLDER --write BENCHMARKS.md

The folder holds `train.parquet` and `test.parquet`: 784 columns of pixels, 0 to 255,
and `label`. Images are halved to 14 x 14 and made black and white. A model learns all
digits but one; anomalous are that digit, and, among the others, those turned by a
quarter. The likelihood ratio compares with independent pixels.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from anomalies import write
from numpy.typing import NDArray
from torch import Tensor

from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.families.independent import Independent
from ar_models.variables import Variable
from tasks.config.train import TrainConfig
from tasks.data.batches import Batch
from tasks.training.trainer import Trainer, train_epoch

SIDE = 14
LEFT_OUT = (1, 4, 8)
"""Digits that are anomalous, each to a model of its own."""

TESTED = 1000
"""Images of each kind that are scored, at most."""

MODELS: dict[str, dict[str, Any]] = {
    "made": {"hidden": 256, "layers": 1, "orderings": 4, "ordering": "random"},
    "pixelcnn": {"height": SIDE, "width": SIDE, "hidden": 24, "layers": 4},
}


def read(path: Path) -> tuple[Tensor, NDArray[np.int64]]:
    """Small black and white images (n, 196) and their labels."""
    table = pq.read_table(path)
    names = [name for name in table.column_names if name != "label"]
    pixels = np.stack([table[name].to_numpy() for name in names], axis=1)
    large = torch.from_numpy(pixels).float().unflatten(1, (2 * SIDE, 2 * SIDE))
    small = torch.nn.functional.avg_pool2d(large.unsqueeze(1), 2).flatten(1)
    return (small > 127).float(), table["label"].to_numpy().astype(np.int64)


def turned(x: Tensor) -> Tensor:
    """The images turned by a quarter."""
    return x.unflatten(1, (SIDE, SIDE)).rot90(1, (1, 2)).flatten(1)


def variables(x: Tensor) -> tuple[Variable, ...]:
    """A binary variable per pixel."""
    shares = ((x.sum(0) + 0.5) / (len(x) + 1)).tolist()
    return tuple(
        Variable(f"pixel {i}", "binary", i, size=2, frequencies=(1 - share, share))
        for i, share in enumerate(shares)
    )


def learn(family: str, x: Tensor, steps: int) -> AutoregressiveModel:
    """A model of images (n, 196) after so many steps."""
    torch.manual_seed(0)
    model = registry.build(family, variables(x), **MODELS[family])
    size = 32 if family == "pixelcnn" else 128
    config = TrainConfig(
        epochs=1,
        batch_size=size,
        learning_rate=3e-3,
        ema_decay=0.99,
    )
    trainer = Trainer(model, config, steps=steps)
    order = torch.randint(len(x), (steps, size))
    train_epoch(trainer, (Batch(x[rows], size) for rows in order), lambda: False)
    return trainer.eval_model.eval()


@torch.inference_mode()
def log_prob(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """Of each image, nats."""
    return torch.cat([model.log_prob(part) for part in x.split(500)])


@torch.inference_mode()
def surplus(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """The statistic of that name, nats."""
    rows = []
    for part in x.split(500):
        each = [model.conditionals(part, k) for k in range(model.orderings)]
        excess = torch.stack([-c.log_prob(part) - c.entropy() for c in each]).mean(0)
        rows.append(excess.clamp(min=0).sum(-1))
    return torch.cat(rows)


def scores(model: AutoregressiveModel, x: Tensor) -> dict[str, Tensor]:
    """Each image's anomaly score by every statistic."""
    independent = Independent(model.variables, Independent.Settings())
    whole = log_prob(model, x)
    return {
        "surprisal": -whole,
        "ratio to independent pixels": log_prob(independent, x) - whole,
        "surplus": surplus(model, x),
    }


def auroc(ordinary: Tensor, anomalous: Tensor) -> float:
    """The chance that an anomalous image has the higher score."""
    below = np.searchsorted(np.sort(ordinary.numpy()), anomalous.numpy(), side="left")
    up_to = np.searchsorted(np.sort(ordinary.numpy()), anomalous.numpy(), side="right")
    return float((below + up_to).mean() / 2 / len(ordinary))


def measure(folder: Path, names: Sequence[str], steps: int) -> str:
    """The table, as Markdown."""
    x, label = read(folder / "train.parquet")
    tested, tested_label = read(folder / "test.parquet")
    rows: list[str] = []
    for family in names:
        for digit in LEFT_OUT:
            known = x[torch.from_numpy(label != digit)]
            model = learn(family, known, steps)
            ordinary = tested[torch.from_numpy(tested_label != digit)]
            ordinary = ordinary[:: max(1, len(ordinary) // TESTED)]
            anomalous = {
                f"the digit {digit}": tested[torch.from_numpy(tested_label == digit)],
                "turned": turned(ordinary),
            }
            usual = scores(model, ordinary)
            if not rows:
                rows += [
                    f"| model | learned | anomalous | {' | '.join(usual)} |",
                    "|---|---|---|" + "---|" * len(usual),
                ]
            for name, images in anomalous.items():
                odd = scores(model, images[:TESTED])
                cells = [f"{auroc(usual[s], odd[s]):.3f}" for s in usual]
                rows.append(
                    f"| `{family}` | all but {digit} | {name} | {' | '.join(cells)} |"
                )
    return "\n".join(rows)


def main() -> None:
    """Reads the arguments, measures, and shows the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="holds train.parquet, test.parquet")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["made"])
    parser.add_argument("--steps", type=int, default=1000, help="of each network")
    parser.add_argument("--write", type=Path, help="the Markdown file to update")
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = measure(args.folder, args.models, args.steps)
    if args.write is None:
        print(text)
    else:
        write(args.write, text, "images")


if __name__ == "__main__":
    main()
