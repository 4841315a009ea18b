"""Measure how well labels are predicted from the features of a model of images.

    python benchmarks/features.py --data PATH

Trains a family on the images of MNIST without their labels, with the same code as
`train`, and fits a linear probe (multinomial logistic regression) to the features of
the train images. Its penalty is chosen by the valid images; then it is tested once, as
is the same probe on the raw pixels. `--data` contains mnist/{train,valid,test}.parquet
with a column `label`.
"""

from pathlib import Path

import numpy as np
import torch
from harness import argument_parser, binary_variables, read_labelled, row
from numpy.typing import NDArray
from published import Data, trained
from sklearn.linear_model import LogisticRegression

from ar_models.families.base import AutoregressiveModel
from tasks.config.load import load
from tasks.config.root import Config

CONFIG = Path(__file__).parent.parent / "examples" / "published" / "mnist_features.yaml"
PENALTIES = (1e-5, 1e-4, 1e-3)
"""Weights of half the squared norm in the mean loss."""

SPLITS = ("train", "valid", "test")

Floats = NDArray[np.float32]
Images = dict[str, tuple[Floats, NDArray[np.int64]]]
"""Images (rows, pixels) in [0, 1] and labels (rows,), by split."""


def main() -> None:
    """Print the accuracy of both probes."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of mnist/")
    parser.add_argument("--work", type=Path, default=Path(".chainrule/published"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    images = read(given.data / "mnist")
    report("raw pixels", {split: x for split, (x, _) in images.items()}, images)
    config = load(given.config)
    model = learn(config, images, given.work)
    report(f"features of {config.model.family}", embed(model, images), images)


def read(folder: Path) -> Images:
    """Return the images and labels of all splits."""
    found = {split: read_labelled(folder / f"{split}.parquet") for split in SPLITS}
    return {split: (x / 255, label) for split, (x, label) in found.items()}


def learn(config: Config, images: Images, work: Path) -> AutoregressiveModel:
    """Train a model of the binary images, without their labels."""
    train, valid = (binary(images[split][0]) for split in ("train", "valid"))
    data = Data(binary_variables(train), train, valid, valid[:0])
    model, seconds = trained(config, data, work, torch.device("cpu"))
    print(f"trained in {seconds:.0f} s", flush=True)
    return model


def binary(x: Floats) -> Floats:
    """Return images with pixels 1 where they are brighter than one half."""
    return (x > 0.5).astype(np.float32)


@torch.inference_mode()
def embed(model: AutoregressiveModel, images: Images) -> dict[str, Floats]:
    """Return the features of all images by split."""
    found = {}
    for split, (x, _) in images.items():
        parts = torch.from_numpy(binary(x)).split(500)
        found[split] = torch.cat([model.features(part) for part in parts]).numpy()
    return found


def report(name: str, features: dict[str, Floats], images: Images) -> None:
    """Fit the probes and print the row of the one with the best valid accuracy."""
    mean, scale = features["train"].mean(0), features["train"].std(0)
    scale = scale.clip(min=1e-3 * float(scale.max()))
    x = {split: (f - mean) / scale for split, f in features.items()}
    y = {split: labels for split, (_, labels) in images.items()}
    probes = [
        LogisticRegression(C=1 / (penalty * len(x["train"]))).fit(
            x["train"], y["train"]
        )
        for penalty in PENALTIES
    ]
    scores = [probe.score(x["valid"], y["valid"]) for probe in probes]
    best = int(np.argmax(scores))
    test = probes[best].score(x["test"], y["test"])
    cells = x["train"].shape[1], f"{scores[best]:.2%}", f"{test:.2%}"
    print(row(name, *cells), flush=True)


if __name__ == "__main__":
    main()
