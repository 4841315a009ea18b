"""Parts of a step of training that are not PyTorch's own, beside PyTorch's, on a CPU.

    python benchmarks/kernels.py --threads 2

Attention by products beside the fused kernel, and dropout beside `torch.nn.Dropout`: a
forward and a backward pass, medians of runs in turns, in milliseconds. Prints a
markdown table.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.layers import attention
from ar_models.layers.dropout import Dropout

SHAPES = ((1024, 4, 20, 32), (64, 4, 100, 32), (32, 6, 257, 32), (32, 3, 257, 64))
"""Of queries: rows, heads, places and width."""

UNITS = (256, 8000)
"""Of what dropout is applied to."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What PyTorch has for it."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attend(function: Attention, parts: list[Tensor]) -> Callable[[], None]:
    """A forward and a backward pass of attention."""
    q, k, v = parts
    gradient = torch.ones_like(q)
    return lambda: function(q, k, v).backward(gradient)


def drop(module: torch.nn.Module, x: Tensor) -> Callable[[], None]:
    """A forward and a backward pass of dropout."""
    gradient = torch.ones_like(x)
    return lambda: module(x).backward(gradient)


def milliseconds(one: Callable[[], None], other: Callable[[], None]) -> list[float]:
    """Of each, the median of runs in turns."""
    took: list[list[float]] = [[], []]
    for _ in range(9):
        for times, run in zip(took, (one, other), strict=True):
            run()
            began = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(times) for times in took]


def report(name: str, dtype: torch.dtype, times: list[float]) -> None:
    """Prints a line."""
    theirs, ours = times
    kind = str(dtype).removeprefix("torch.")
    print(f"| {name} | {kind} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.1f} |")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    print("| what | type | PyTorch's, ms | ours, ms | times as fast |")
    print("|---|---|---|---|---|")
    for dtype in (torch.bfloat16, torch.float32):
        for shape in SHAPES:
            parts = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
            times = milliseconds(
                attend(fused, parts), attend(attention.causal_attention, parts)
            )
            rows, heads, places, width = shape
            name = f"attention, {rows} x {heads} heads x {places} places x {width}"
            report(name, dtype, times)
        x = torch.randn(UNITS).to(dtype).requires_grad_()
        times = milliseconds(drop(torch.nn.Dropout(0.1), x), drop(Dropout(0.1), x))
        report(f"dropout of {UNITS[0]} x {UNITS[1]} units", dtype, times)


if __name__ == "__main__":
    main()
