"""How much a model's features of images know of labels that it has never seen.

    python benchmarks/features.py --data PATH

Trains a family on the images of MNIST without their labels, with the same code as
`train`, and fits a linear probe (multinomial logistic regression) to the features of
the train images. Its penalty, and which rows the features are taken from, are chosen by
the valid images; then it is tested once, beside the same probe on the raw pixels.
`--data` holds mnist/{train,valid,test}.parquet with a column `label`.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from published import Data, binary_variables, trained
from torch import Tensor
from torch.nn import functional as F

from ar_models.families.base import AutoregressiveModel
from tasks.config.load import load
from tasks.config.root import Config

CONFIG = Path(__file__).parent.parent / "examples" / "published" / "mnist_features.yaml"
PENALTIES = (1e-5, 1e-4, 1e-3)
"""Weights of half the squared norm, of which the valid images choose one."""

SPLITS = ("train", "valid", "test")

Images = dict[str, tuple[NDArray[np.float32], Tensor]]
"""Images (rows, pixels) in [0, 1] and labels (rows,), by split."""


def main() -> None:
    """Prints the accuracy of both probes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--work", type=Path, default=Path(".chainrule/published"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    images = read(given.data / "mnist")
    raw = {s: torch.from_numpy(x) for s, (x, _) in images.items()}
    report("raw pixels", raw, images)
    config = load(given.config)
    model = learn(config, images, given.work)
    report(f"features of {config.model.family}", embed(model, images), images)


def read(folder: Path) -> Images:
    """The images and labels of all splits."""
    images = {}
    for split in SPLITS:
        table = pq.read_table(folder / f"{split}.parquet")
        labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
        columns = [c.to_numpy() for c in table.drop_columns(["label"]).columns]
        images[split] = np.stack(columns, 1).astype(np.float32) / 255, labels
    return images


def learn(config: Config, images: Images, work: Path) -> AutoregressiveModel:
    """The model of the images, of two values each; it is not told the labels."""
    train, valid = (binary(images[split][0]) for split in ("train", "valid"))
    data = Data(binary_variables(train), train, valid, valid[:0])
    model, seconds = trained(config, data, work, torch.device("cpu"))
    print(f"trained in {seconds:.0f} s", flush=True)
    return model


def binary(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images whose pixels are 1 where they are brighter than the half."""
    return (x > 0.5).astype(np.float32)


@torch.inference_mode()
def embed(model: AutoregressiveModel, images: Images) -> dict[str, Tensor]:
    """The features of all images, by split."""
    found = {}
    for split, (x, _) in images.items():
        parts = torch.from_numpy(binary(x)).split(500)
        found[split] = torch.cat([model.features(part) for part in parts])
    return found


def report(name: str, features: dict[str, Tensor], images: Images) -> None:
    """Fits the probes and prints the row of the one that the valid images choose."""
    mean, scale = features["train"].mean(0), features["train"].std(0)
    scale = scale.clamp(min=1e-3 * float(scale.max()))
    x = {split: (f - mean) / scale for split, f in features.items()}
    y = {split: labels for split, (_, labels) in images.items()}
    probes = [fit(x["train"], y["train"], penalty) for penalty in PENALTIES]
    scores = [accuracy(probe, x["valid"], y["valid"]) for probe in probes]
    best = int(np.argmax(scores))
    test = accuracy(probes[best], x["test"], y["test"])
    print(
        f"| {name} | {x['train'].shape[1]} | {scores[best]:.2%} | {test:.2%} |",
        flush=True,
    )


def fit(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights and bias of a multinomial logistic regression, by L-BFGS."""
    classes = int(y.max()) + 1
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=100, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y)
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def accuracy(probe: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> float:
    """The share of rows whose label a probe finds."""
    return float((F.linear(x, *probe).argmax(1) == y).float().mean())


if __name__ == "__main__":
    main()
