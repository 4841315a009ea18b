"""How long a draw takes, against one dense forward pass and one pass per variable.

Run it on an idle machine:

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/sampling.py --families made independent --dims 20 128 784
    python benchmarks/sampling.py --settings '{"hidden": 1024, "residual": false}'

Each line gives medians over interleaved repetitions: seconds of a dense forward pass,
rows per second, and as ratios to such a pass of the same batch a draw, one pass per
variable, and a draw from zuko's masked autoregressive flow with hidden layers as wide.
The last two take a pass per variable, of which some are measured and extrapolated.
Prints a markdown table.
"""

import argparse
import copy
import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import MODELS, build
from ar_models.layers import masked_linear
from ar_models.variables import binary_variables

PLAIN_STEPS = 8
"""So many passes of the samplers that take one per variable are timed."""

HIDDEN = 512
"""Units of zuko's hidden layers where the settings do not say how many."""


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(
    model: AutoregressiveModel,
    batch: int,
    repetitions: int,
    device: str,
    hidden: tuple[int, ...],
) -> dict[str, float]:
    """Median seconds of a forward pass, a draw, and draws with a pass per variable.

    Args:
        model: What is drawn from.
        batch: Rows.
        repetitions: Of each.
        device: Where.
        hidden: Widths of the peer's hidden layers.
    """
    noise = torch.rand(batch, model.dim, 2, device=device)
    x = model.draw_unconditional(noise)

    steps = min(PLAIN_STEPS, model.dim)

    def plain() -> None:
        for _ in range(steps):
            model.conditionals(x).sample(noise)

    dense = copy.deepcopy(model)

    def dense_pass() -> None:
        blocks, masked_linear.OUTPUT_BLOCKS = masked_linear.OUTPUT_BLOCKS, 1
        dense.log_prob(x)
        masked_linear.OUTPUT_BLOCKS = blocks

    flow = MaskedAutoregressiveTransform(
        model.dim, passes=steps, hidden_features=hidden
    ).to(device)
    values = torch.randn(batch, model.dim, device=device)
    works: dict[str, Callable[[], object]] = {
        "forward": dense_pass,
        "draw": lambda: model.draw_unconditional(noise),
        "plain": plain,
        "zuko": lambda: flow().inv(values),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        seconds(work, device)  # on a GPU the second draw is recorded
    for _ in range(repetitions):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name in ("plain", "zuko"):
        medians[name] *= model.dim / steps
    return medians


def main() -> None:
    """Prints a line for every family and number of variables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=["made"], choices=MODELS)
    parser.add_argument("--dims", nargs="+", type=int, default=[20, 128, 784])
    parser.add_argument("--batches", nargs="+", type=int, default=[256, 4096])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="of every family, as JSON"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--bf16", action="store_true", help="products of all in bf16, by autocast"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    hidden = (arguments.settings.get("hidden", HIDDEN),)
    hidden *= arguments.settings.get("layers", 2)
    print(
        "| family | variables | rows | forward pass, s | rows/s | draw / forward | "
        "a pass per variable / forward | zuko's draw / forward |\n" + "|---" * 8 + "|"
    )
    for family, dim, batch in itertools.product(
        arguments.families, arguments.dims, arguments.batches
    ):
        model = build(family, binary_variables(dim), **arguments.settings)
        model = model.to(arguments.device).eval()
        autocast = torch.autocast(
            arguments.device, torch.bfloat16, enabled=arguments.bf16
        )
        with torch.inference_mode(), autocast:
            took = measure(
                model, batch, arguments.repetitions, arguments.device, hidden
            )
        ratios = [took[each] / took["forward"] for each in ("draw", "plain", "zuko")]
        print(
            f"| `{family}` | {dim} | {batch:,} | {took['forward']:.4f} | "
            f"{batch / took['draw']:,.0f} | {ratios[0]:.2f} | {ratios[1]:,.0f} | "
            f"{ratios[2]:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
