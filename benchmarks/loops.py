"""Measure compiled kernels against the tensor operations that they replace on a CPU.

    python benchmarks/loops.py

Results of conditionals and input features of 4,096 rows, on one thread: medians of
interleaved runs, in microseconds per row. The output is a Markdown table.
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch
from harness import header, interleaved, row

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.kernels import compiled
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable

ROWS = 4096

RUNS = 15

MIN_ELEMENTS = {"operations": 10**12, "kernels": 0}
"""Minimum number of elements for kernels, by what is measured."""

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


def report(name: str, run: Callable[[], object]) -> None:
    """Time a function with and without kernels and print the row."""

    def limited(elements: int) -> None:
        compiled.MIN_ELEMENTS = elements
        run()

    works = {kind: partial(limited, least) for kind, least in MIN_ELEMENTS.items()}
    interleaved(works, repetitions=1)
    times = interleaved(works, repetitions=RUNS).values()
    one, other = (1e6 * statistics.median(each) / ROWS for each in times)
    print(row(name, f"{one:.2f}", f"{other:.2f}", f"{one / other:.1f}"), flush=True)


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(header("what", "operations", "loops", "times as fast"))
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
