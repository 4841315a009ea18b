"""Compare models that know the inequalities of a table with the same models without.

    python benchmarks/inequalities.py DATA --only tables_pollution

DATA contains a directory per table, as for benchmarks/tables.py. The output is a
Markdown table with, of the model without and with weights of the inequalities:

- violated: share of the test rows and of synthetic rows that violate one of them;
- NLL of the test rows, in nats per row;
- AUC of a classifier of test rows and synthetic rows;
- found: of up to 20 test rows at a time in which both sides of an inequality are
  exchanged so that it is violated, those among the 30 most anomalous of all test rows.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import argument_parser, header, row
from in_process import fit
from tables import JUDGED_ROWS, percent, shuffled, split

from ar_models.density.sampler import Sampler
from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.tables.inequality import Inequality, violations
from tasks.config.train import TrainConfig
from tasks.evaluation.fidelity.fidelity import compare
from tasks.evaluation.fidelity.tables import Tables

PLANTED, FIRST = 20, 30
"""Numbers of rows with a violation, and of the rows with the highest scores."""


def main() -> None:
    """Train on each table, and print both models' figures."""
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder of the tables")
    parser.add_argument("--only", nargs="*", help="names of tables; all if none")
    parser.add_argument("--rows", type=int, default=8000, help="rows to learn from")
    parser.add_argument("--epochs", type=int, default=40, help="number of epochs")
    arguments = parser.parse_args()
    names = arguments.only or sorted(
        path.parent.name for path in arguments.data.glob("*/*.parquet")
    )
    figures = ("violated", "NLL", "AUC", "found")
    both = [f"{name} {how}" for name in figures for how in ("without", "with")]
    print(header("table", "rows", "inequalities", "violated by test rows", *both))
    training = TrainConfig(epochs=arguments.epochs)
    for name in dict.fromkeys(names):
        train, test = split(arguments.data / name)
        train, test = shuffled(train, all_rows=True), shuffled(test)
        train = train.slice(0, arguments.rows)
        density = fit(train, 0, None, training)
        plain = replace(density, encoder=density.encoder.without_weights())
        each = [list(measured(d, train, test)) for d in (plain, density)]
        pairs = [cell for pair in zip(*each, strict=True) for cell in pair]
        known = density.encoder.inequalities
        share = violations(known, test, density.encoder.schema).any(axis=1).mean()
        print(row(name, f"{len(train):,}", len(known), percent(share), *pairs))


def measured(density: TableDensity, train: pa.Table, test: pa.Table) -> Iterator[str]:
    """Yield the figures of one model as text."""
    encoder = density.encoder
    drawn = Sampler(density).sample(JUDGED_ROWS, seed=1)
    drawn = drawn.cast(test.select(drawn.column_names).schema)
    names = drawn.column_names
    wrong = violations(encoder.inequalities, drawn, encoder.schema).any(axis=1)
    yield percent(float(wrong.mean()))
    yield f"{-density.log_prob(test).mean():.3f}"
    judged = compare(Tables(train.select(names), test.select(names), drawn), None)
    yield f"{judged['two_sample_auc']['synthetic']:.3f}"
    counts = [found(density, test, each) for each in encoder.inequalities]
    yield f"{sum(n for n, _ in counts)} of {sum(n for _, n in counts)}"


def found(
    density: TableDensity, test: pa.Table, inequality: Inequality
) -> tuple[int, int]:
    """Return how many violations are among the most anomalous rows, and how many are.

    Args:
        density: The model.
        test: The rows, in some of which both sides are exchanged.
        inequality: The inequality of two columns.
    """
    names = list(inequality.columns)
    planted = test.slice(0, PLANTED)
    cells = [planted.column(name) for name in names]
    changed = planted
    for name, other in zip(names, reversed(cells), strict=True):
        place = planted.column_names.index(name)
        type = planted.schema.field(name).type
        changed = changed.set_column(place, name, other.cast(type, safe=False))
    wrong = violations([inequality], changed, density.encoder.schema)[:, 0]
    table = pa.concat_tables([changed, test.slice(PLANTED)])
    scores = Scorer(density, ScoreOptions(explain="none")).score(table)
    order = np.argsort(-scores["anomaly_score"].to_numpy(), kind="stable")
    return int(np.isin(np.flatnonzero(wrong), order[:FIRST]).sum()), int(wrong.sum())


if __name__ == "__main__":
    main()
