"""Measure the Q-errors of estimated query sizes, beside simpler estimators.

    python benchmarks/queries.py ADULT/train.parquet --queries 2000

The default model is trained on the rows of a file. Each query is a conjunction of 2 to
5 conditions around a random row of it: the same category, or a number at most, at least
or near that of the row. Its size is estimated by `chainrule ask`; by the product of the
exact shares of its conditions, as if columns were independent; and from a sample of 1 %
of the rows. The Q-error is the larger of estimate / size and size / estimate, both at
least 1 row. The output is a Markdown table.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import argument_parser, header, row
from numpy.typing import NDArray
from tables import fit

from ar_models.density.predicates import Predicate, parse
from ar_models.density.queries import Questions

SAMPLE_SHARE = 0.01
"""Share of the rows that the estimator by sampling sees."""


def main() -> None:
    """Train, estimate the sizes of random queries and print the Q-errors."""
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="Parquet file")
    parser.add_argument("--queries", type=int, default=2000, help="number of queries")
    parser.add_argument("--rows", type=int, help="number of first rows; default all")
    parser.add_argument("--draws", type=int, default=1024, help="draws per query")
    parser.add_argument("--set", nargs="*", default=[], help="configuration, KEY=VALUE")
    arguments = parser.parse_args()
    rows = pq.read_table(arguments.data)
    rows = rows.slice(0, arguments.rows or len(rows))
    with tempfile.TemporaryDirectory() as work:
        pq.write_table(rows, Path(work) / "train.parquet")
        density = fit(Path(work), arguments.set)
    questions = Questions(density, arguments.draws)
    schema = questions.sampler.schema
    rng = np.random.default_rng(0)
    sample = rng.random(len(rows)) < SAMPLE_SHARE
    names = [name for name in density.columns if name in rows.column_names]
    errors: dict[str, list[float]] = {"model": [], "independent": [], "1 % sample": []}
    took = 0.0
    for _ in range(arguments.queries):
        text = random_query(rows, schema, names, rng)
        shares = [holds(each, rows) for each in parse(text, schema)]
        found = np.logical_and.reduce(shares)
        began = time.perf_counter()
        model = questions.ask(text).probability
        took += time.perf_counter() - began
        estimates = {
            "model": model,
            "independent": float(np.prod([share.mean() for share in shares])),
            "1 % sample": float(found[sample].mean()),
        }
        for name, share in estimates.items():
            size, guess = max(found.sum(), 1), max(share * len(rows), 1)
            errors[name].append(max(size / guess, guess / size))
    print(header("estimator", "median", "95 %", "99 %", "largest"))
    for name, values in errors.items():
        levels = np.quantile(values, [0.5, 0.95, 0.99, 1])
        print(row(name, *(f"{level:.2f}" for level in levels)))
    print(f"\n{1000 * took / arguments.queries:.0f} ms per query of the model")


def random_query(
    rows: pa.Table, schema: pa.Schema, names: list[str], rng: np.random.Generator
) -> str:
    """Return a conjunction of 2 to 5 conditions that a random row satisfies."""
    place = int(rng.integers(len(rows)))
    conditions: list[str] = []
    count = int(rng.integers(2, 6))
    for name in rng.permutation(names).tolist():
        value = rows[name][place].as_py()
        if value is None or len(conditions) == count:
            continue
        quoted = '"' + name.replace('"', '""') + '"'
        type = schema.field(name).type
        if pa.types.is_integer(type) or pa.types.is_floating(type):
            sign = rng.choice(["<=", ">=", "="])
            if sign == "=" and pa.types.is_floating(type):
                sign = "<="
            conditions.append(f"{quoted} {sign} {value!r}")
        else:
            text = str(value).replace("'", "''")
            conditions.append(f"{quoted} = '{text}'")
    return " and ".join(conditions)


def holds(condition: Predicate, rows: pa.Table) -> NDArray[np.bool_]:
    """Return in which rows of a table a condition holds, (n,)."""
    cells = {name: rows[name].combine_chunks() for name in condition.columns}
    return np.asarray(condition.holds(cells))


if __name__ == "__main__":
    main()
