"""Measure attention and dropout against PyTorch's own on a CPU.

    python benchmarks/kernels.py --threads 2

Attention by matrix products is compared with the fused kernel, and dropout with
`torch.nn.Dropout`: a forward and a backward pass, medians of interleaved runs, in
milliseconds. The output is a Markdown table.
"""

import statistics
from collections.abc import Callable

import torch
from harness import argument_parser, header, interleaved, row
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.layers import attention
from ar_models.layers.dropout import Dropout

SHAPES = ((1024, 4, 20, 32), (64, 4, 100, 32), (32, 6, 257, 32), (32, 3, 257, 64))
"""Shapes of queries: rows, heads, places and width."""

UNITS = (256, 8000)
"""Shape of the input of dropout."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute causal attention by the fused kernel of PyTorch."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attend(function: Attention, parts: list[Tensor]) -> Callable[[], None]:
    """Return a forward and a backward pass of attention."""
    q, k, v = parts
    gradient = torch.ones_like(q)
    return lambda: function(q, k, v).backward(gradient)


def drop(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a forward and a backward pass of dropout."""
    gradient = torch.ones_like(x)
    return lambda: module(x).backward(gradient)


def report(
    name: str, dtype: torch.dtype, theirs: Callable[[], None], ours: Callable[[], None]
) -> None:
    """Time both functions and print their row."""
    theirs(), ours()
    times = interleaved({"theirs": theirs, "ours": ours}, repetitions=9)
    one, other = (1e3 * statistics.median(each) for each in times.values())
    kind = str(dtype).removeprefix("torch.")
    print(row(name, kind, f"{one:.1f}", f"{other:.1f}", f"{one / other:.1f}"))


def main() -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    print(header("what", "type", "PyTorch's, ms", "ours, ms", "times as fast"))
    for dtype in (torch.bfloat16, torch.float32):
        for shape in SHAPES:
            parts = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
            rows, heads, places, width = shape
            name = f"attention, {rows} x {heads} heads x {places} places x {width}"
            works = (attend(f, parts) for f in (fused, attention.causal_attention))
            report(name, dtype, *works)
        x = torch.randn(UNITS).to(dtype).requires_grad_()
        name = f"dropout of {UNITS[0]} x {UNITS[1]} units"
        report(name, dtype, *(drop(kind(0.1), x) for kind in (nn.Dropout, Dropout)))


if __name__ == "__main__":
    main()
