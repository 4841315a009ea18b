"""How long a draw takes, against one dense forward pass and one pass per variable.

Run it on an idle machine:

    python benchmarks/sampling.py --families made independent --dims 20 128 784
    python benchmarks/sampling.py --settings '{"hidden": 1024, "residual": false}'

Each line gives medians over interleaved repetitions: seconds of a forward pass, rows
per second, the ratio of a draw to a pass, and that of one pass per variable, which is
measured on the first variables and extrapolated where there are many.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch

from ar_models.autoregressive import AutoregressiveModel
from ar_models.families import MODELS
from ar_models.variables import binary

PLAIN_STEPS = 8
"""So many of the plain sampler's passes are timed."""


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(
    model: AutoregressiveModel, batch: int, repetitions: int, device: str
) -> dict[str, float]:
    """Median seconds of a forward pass, a draw, and plain draws of all variables."""
    noise = torch.rand(batch, model.dim, 2, device=device)
    free = torch.full((batch, model.dim), math.nan, device=device)
    x = model.draw(noise, free)

    def plain() -> None:
        for _ in range(min(PLAIN_STEPS, model.dim)):
            model.conditionals(x).sample(noise)

    works: dict[str, Callable[[], object]] = {
        "forward": lambda: model.log_prob(x),
        "draw": lambda: model.draw(noise, free),
        "plain": plain,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        seconds(work, device)
    for _ in range(repetitions):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    medians["plain"] *= model.dim / min(PLAIN_STEPS, model.dim)
    return medians


def main() -> None:
    """Prints a line for every family and number of variables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=["made"], choices=MODELS)
    parser.add_argument("--dims", nargs="+", type=int, default=[20, 128, 784])
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="of every family, as JSON"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("family        dim  forward s    rows/s  draw/forward  plain/forward")
    for family in arguments.families:
        for dim in arguments.dims:
            model = MODELS[family](binary(dim), **arguments.settings)
            model = model.to(arguments.device).eval()
            with torch.inference_mode():
                took = measure(
                    model, arguments.batch, arguments.repetitions, arguments.device
                )
            print(
                f"{family:<12} {dim:4}  {took['forward']:9.3f}  "
                f"{arguments.batch / took['draw']:8.0f}  "
                f"{took['draw'] / took['forward']:12.2f}  "
                f"{took['plain'] / took['forward']:13.1f}"
            )


if __name__ == "__main__":
    main()
