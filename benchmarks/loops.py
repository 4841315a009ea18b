"""Compiled loops beside the operations on whole batches that they replace, on a CPU.

    python benchmarks/loops.py

What conditionals give and what networks see of 4,096 rows, on one thread: medians of
runs in turns, in microseconds a row. Prints a markdown table.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.kernels import compiled
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable

ROWS = 4096

RUNS = 15

KNOTS = tuple(float(k) for k in range(-16, 17))
ATOMS = tuple(float(k) for k in range(30))

REALS = tuple(Variable(f"r{i}", "real", i, knots=KNOTS) for i in range(8))
INTEGERS = tuple(
    Variable(f"i{i}", "integer", i, scale=5.0, lower=0.0, atoms=ATOMS, knots=KNOTS)
    for i in range(5)
)
CODES = (Variable("c", "categorical", 0, size=320),)

KINDS = {
    "8 mixtures of Gaussians": REALS,
    "5 mixtures for integers, 30 atoms": INTEGERS,
    "320 codes": CODES,
}


def in_turns(run: Callable[[], object]) -> tuple[float, float]:
    """Microseconds a row by operations and by loops."""
    took: dict[int, list[float]] = {10**12: [], 0: []}
    for _ in range(RUNS):
        for many, times in took.items():
            compiled.MIN_ELEMENTS = many
            run()
            began = time.perf_counter()
            run()
            times.append(1e6 * (time.perf_counter() - began) / ROWS)
    operations, loops = (statistics.median(times) for times in took.values())
    return operations, loops


def report(name: str, run: Callable[[], object]) -> None:
    """Prints a line."""
    operations, loops = in_turns(run)
    ratio = operations / loops
    print(f"| {name} | {operations:.2f} | {loops:.2f} | {ratio:.1f} |", flush=True)


@torch.inference_mode()
def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| what | operations | loops | times as fast |")
    print("|---|---|---|---|")
    for name, variables in KINDS.items():
        # Without the factorisation of many codes, as that is a product in both.
        layout = ParameterLayout.of(variables, factorise=False)
        parameters = layout.initial_bias() + torch.randn(ROWS, layout.size)
        noise = torch.rand(ROWS, len(variables), 2)
        given = Conditionals(layout, parameters)
        x = given.sample(noise)
        log_prob = given.log_prob(x)
        if variables is not CODES:
            report(f"log-probabilities, {name}", partial(given.log_prob, x))
        report(f"tails, {name}", partial(given.log_tail_probs, x, log_prob))
        inputs = InputFeatures.of(variables)
        if variables is not CODES:
            report(f"features, {name}", partial(inputs, x))
            report(f"entropies, {name}", given.entropy)


if __name__ == "__main__":
    main()
