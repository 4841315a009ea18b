"""Measure the training of each family against the speed of matrix products.

Run it on an idle machine:

    python benchmarks/training.py nade made --threads 2 --precision fp32

A step is a forward pass, a backward pass and Adam on rows of 784 binary variables. Each
row has the rows per second of the fastest step, the floating point operations per
second of its matrix products and convolutions, masked weights included, and their ratio
to those of a dense 2048 x 2048 product, timed in turns with the steps. If zuko is
installed, the last row is its `MaskedMLP` with the layers of `made-plain`.
"""

import argparse
import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from harness import argument_parser, header, interleaved, row
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ar_models.families.registry import build
from ar_models.variables import binary_variables

DIM = 784
SIDE = 28
PRODUCT = 2048
"""Number of rows and columns of the dense product."""


class Case(NamedTuple):
    """A family, its settings and the number of rows per step."""

    family: str
    batch: int
    settings: dict[str, Any]  # arguments of the family


CASES = {
    "fvsbn": Case("fvsbn", 512, {}),
    "nade": Case("nade", 512, {"hidden": 500}),
    "nade-sigmoid": Case("nade", 512, {"hidden": 500, "activation": "sigmoid"}),
    "eonade": Case("eonade", 512, {"hidden": 500, "residual": False}),
    "made": Case("made", 512, {"hidden": 512}),
    "made-plain": Case("made", 512, {"hidden": 512, "residual": False}),
    "rnn": Case("rnn", 64, {"hidden": 128, "shared": True}),
    "transformer": Case(
        "transformer", 8, {"hidden": 64, "layers": 2, "heads": 4, "shared": True}
    ),
    "pixelcnn": Case(
        "pixelcnn", 16, {"height": SIDE, "width": SIDE, "hidden": 32, "layers": 4}
    ),
}


def main() -> None:
    """Print a row per case."""
    parser = argument_parser(__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    unknown = set(given.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {sorted(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    titles = ("case", "parameters", "batch", "rows/s", "GFLOP/s", "share of a product")
    print(header(*titles), flush=True)
    for name in given.cases:
        case = CASES[name]
        model = build(case.family, binary_variables(DIM), **case.settings)
        report(name, model, lambda x, of=model: -of(x).mean(), case.batch, given)
    if importlib.util.find_spec("zuko"):
        network, loss = peer(CASES["made-plain"])
        report("zuko MaskedMLP", network, loss, CASES["made-plain"].batch, given)


def peer(case: Case) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return zuko's masked network with the layers of a case, and its mean NLL."""
    from zuko.nn import MaskedMLP

    hidden = [case.settings["hidden"]] * 2
    network = MaskedMLP(torch.ones(DIM, DIM).tril(-1).bool(), hidden)

    def loss(x: Tensor) -> Tensor:
        logits = network(x).float()
        total = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return total / len(x)

    return network, loss


def report(
    name: str,
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    batch: int,
    given: argparse.Namespace,
) -> None:
    """Time the steps of a model and print its row.

    Args:
        name: Name of the case.
        model: Network with the parameters to learn.
        loss: Returns the mean NLL of rows.
        batch: Number of rows per step.
        given: Precision, device and seconds.
    """
    device, bf16 = given.device, given.precision == "bf16"
    model.to(device).train()
    x = (torch.rand(batch, DIM, device=device) < 0.2).float()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            nll = loss(x)
        nll.backward()
        optimizer.step()
        optimizer.zero_grad()

    dtype = torch.bfloat16 if bf16 else torch.float32
    dense = torch.randn(PRODUCT, PRODUCT, device=device, dtype=dtype)
    with FlopCounterMode(display=False, custom_mapping=more_formulas()) as counter:
        step()
    works = {"step": step, "product": lambda: torch.mm(dense, dense)}
    times = interleaved(works, budget=given.seconds, device=device)
    best, product = map(min, times.values())
    rate = counter.get_total_flops() / best
    share = rate / (2 * PRODUCT**3 / product)
    parameters = sum(p.numel() for p in model.parameters())
    cells = f"{parameters:,}", batch, f"{batch / best:,.0f}"
    print(row(name, *cells, f"{rate / 1e9:.1f}", f"{share:.1%}"), flush=True)


def more_formulas() -> dict[Any, Callable[..., int]]:  # by torch's operators
    """Return the operations of attention and LSTMs on a CPU, by torch's operator."""
    aten = torch.ops.aten

    def attention(
        query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
    ) -> int:
        *batch, length, width = query
        return 4 * math.prod(batch) * length * key[-2] * width

    def attention_backward(gradient: Any, *others: Any, **more: Any) -> int:
        # The two products are done again, and four more.
        return attention(*others, **more) * 5 // 2

    def lstm(x: torch.Size, w: torch.Size, u: torch.Size, *_: Any, **__: Any) -> int:
        return 2 * math.prod(x[:-1]) * (math.prod(w) + math.prod(u))

    def lstm_backward(
        x: torch.Size, w: torch.Size, u: torch.Size, *_: Any, **__: Any
    ) -> int:
        return 2 * lstm(x, w, u)

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
        aten.mkldnn_rnn_layer: lstm,
        aten.mkldnn_rnn_layer_backward: lstm_backward,
    }


if __name__ == "__main__":
    main()
