"""Measure anomaly detection on images by likelihoods and likelihood ratios.

    python benchmarks/images.py MNIST_FOLDER --write BENCHMARKS.md

The directory contains `train.parquet` and `test.parquet`: 784 columns of pixels, 0 to
255, and `label`. Images are reduced to 14 x 14 binary pixels. A model learns all digits
but one; the anomalies are images of that digit, and images of the others rotated by 90
degrees. The likelihood ratio is that of the model to independent pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import (
    argument_parser,
    binary_variables,
    header,
    read_labelled,
    row,
    write_section,
)
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.families.independent import Independent
from tasks.config.train import ResolvedTrainConfig
from tasks.data.batches import Batch
from tasks.training.trainer import Trainer, train_epoch

SIDE = 14
LEFT_OUT = (1, 4, 8)
"""Digits that are anomalous, each for a model of its own."""

TESTED = 1000
"""Maximum number of images of each kind to score."""

MODELS: dict[str, dict[str, Any]] = {
    "made": {"hidden": 256, "layers": 1, "orderings": 4, "ordering": "random"},
    "pixelcnn": {"height": SIDE, "width": SIDE, "hidden": 24, "layers": 4},
}


def read(path: Path) -> tuple[Tensor, NDArray[np.int64]]:
    """Return binary images, (n, 196), and their labels."""
    pixels, label = read_labelled(path)
    large = torch.from_numpy(pixels).unflatten(1, (2 * SIDE, 2 * SIDE))
    small = torch.nn.functional.avg_pool2d(large.unsqueeze(1), 2).flatten(1)
    return (small > 127).float(), label


def turned(x: Tensor) -> Tensor:
    """Rotate images by 90 degrees."""
    return x.unflatten(1, (SIDE, SIDE)).rot90(1, (1, 2)).flatten(1)


def learn(family: str, x: Tensor, steps: int) -> AutoregressiveModel:
    """Train a model of images, (n, 196), for a number of steps."""
    torch.manual_seed(0)
    model = registry.build(
        family, binary_variables(x.numpy(), prior=0.5), **MODELS[family]
    )
    size = 32 if family == "pixelcnn" else 128
    config = ResolvedTrainConfig(
        epochs=1, batch_size=size, learning_rate=3e-3, ema_decay=0.99, patience=1
    )
    trainer = Trainer(model, config, steps=steps)
    order = torch.randint(len(x), (steps, size))
    train_epoch(trainer, (Batch(x[rows], size) for rows in order), lambda: False)
    return trainer.eval_model.eval()


@torch.inference_mode()
def log_prob(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """Return the log-probability of each image in nats."""
    return torch.cat([model.log_prob(part) for part in x.split(500)])


@torch.inference_mode()
def surplus(model: AutoregressiveModel, x: Tensor) -> Tensor:
    """Return the statistic `surplus` of each image in nats."""
    rows = []
    for part in x.split(500):
        each = [model.conditionals(part, k) for k in range(model.orderings)]
        excess = torch.stack([-c.log_prob(part) - c.entropy() for c in each]).mean(0)
        rows.append(excess.clamp(min=0).sum(-1))
    return torch.cat(rows)


def scores(model: AutoregressiveModel, x: Tensor) -> dict[str, Tensor]:
    """Return the anomaly scores of images by statistic."""
    independent = Independent(model.variables, Independent.Settings())
    whole = log_prob(model, x)
    return {
        "surprisal": -whole,
        "ratio to independent pixels": log_prob(independent, x) - whole,
        "surplus": surplus(model, x),
    }


def auroc(ordinary: Tensor, anomalous: Tensor) -> float:
    """Return the probability that an anomalous image has the higher score."""
    label = np.repeat([0, 1], [len(ordinary), len(anomalous)])
    return float(roc_auc_score(label, torch.cat([ordinary, anomalous]).numpy()))


def measure(folder: Path, names: Sequence[str], steps: int) -> str:
    """Train and score all models and return the table in Markdown."""
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
                rows.append(header("model", "learned", "anomalous", *usual))
            for name, images in anomalous.items():
                odd = scores(model, images[:TESTED])
                cells = [f"{auroc(usual[s], odd[s]):.3f}" for s in usual]
                rows.append(row(f"`{family}`", f"all but {digit}", name, *cells))
    return "\n".join(rows)


def main() -> None:
    """Parse the arguments, measure, and print or write the table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "folder", type=Path, help="directory of train.parquet and test.parquet"
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["made"])
    parser.add_argument("--steps", type=int, default=1000, help="training steps")
    parser.add_argument("--write", type=Path, help="Markdown file to update")
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = measure(args.folder, args.models, args.steps)
    if args.write is None:
        print(text)
    else:
        write_section(args.write, text, "images")


if __name__ == "__main__":
    main()
