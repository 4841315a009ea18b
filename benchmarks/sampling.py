"""Measure sampling against one dense forward pass and one pass per variable.

Run it on an idle machine:

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/sampling.py --families made independent --dims 20 128 784
    python benchmarks/sampling.py --settings '{"hidden": 1024, "residual": false}'

Each row has medians over interleaved repetitions: seconds of a dense forward pass, rows
drawn per second, and, as ratios to the forward pass of the same batch, sampling, one
pass per variable, and sampling from zuko's masked autoregressive flow with hidden
layers of the same width. The last two take a pass per variable; some of the passes are
timed, and the rest extrapolated. The output is a Markdown table.
"""

import copy
import itertools
import json
import statistics
from collections.abc import Callable

import torch
from harness import argument_parser, header, interleaved, row
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import MODELS, build
from ar_models.layers import masked_linear
from ar_models.variables import binary_variables

PLAIN_STEPS = 8
"""Number of timed passes of the samplers that take one per variable."""

HIDDEN = 512
"""Units of zuko's hidden layers unless the settings have a width."""


def measure(
    model: AutoregressiveModel,
    batch: int,
    repetitions: int,
    device: str,
    hidden: tuple[int, ...],
) -> dict[str, float]:
    """Return the median seconds of a forward pass and of each way to sample.

    Args:
        model: Model to sample from.
        batch: Number of rows.
        repetitions: Number of runs of each.
        device: Device of the model.
        hidden: Widths of zuko's hidden layers.
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
    # On a GPU the second draw is recorded.
    interleaved(works, repetitions=1, device=device)
    times = interleaved(works, repetitions=repetitions, device=device)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name in ("plain", "zuko"):
        medians[name] *= model.dim / steps
    return medians


def main() -> None:
    """Print a row for every family, number of variables and batch."""
    parser = argument_parser(__doc__)
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
        header(
            *("family", "variables", "rows", "forward pass, s", "rows/s"),
            *("draw / forward", "a pass per variable / forward"),
            "zuko's draw / forward",
        )
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
        forward = took["forward"]
        cells = [f"{forward:.4f}", f"{batch / took['draw']:,.0f}"]
        cells.append(f"{took['draw'] / forward:.2f}")
        cells += [f"{took[peer] / forward:,.0f}" for peer in ("plain", "zuko")]
        print(row(f"`{family}`", dim, f"{batch:,}", *cells), flush=True)


if __name__ == "__main__":
    main()
