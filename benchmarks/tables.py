"""Train what `chainrule init` proposes on every table of a folder, and judge the rows.

    python benchmarks/tables.py DATA --only tables_flights tables_diamonds

DATA contains a directory per table with train.parquet and test.parquet, or with
all.parquet, of which every fifth row is a test row. The output is a Markdown table:

- NLL: of the test rows, in nats per row, in probability masses where the encoder has
  atoms, and in densities else;
- constraints: number of formulas and inequalities that `prepare` found, and the share
  of the synthetic rows that violate one which holds in at least 99.9 % of the training
  rows;
- AUC of a classifier of test rows and synthetic rows, and of test and training rows;
- findings: share of the synthetic rows that break a rule which the test rows keep;
- closest: share of synthetic rows that are nearer to a training than to a test row;
- downstream: AUC or R² on the test rows of a classifier or regression that is trained
  on synthetic rows, and on training rows.

With --trees, a second table follows: the NLL of each column that has masses alone, and
that of a chain of boosted trees on the same columns in the same order, derived columns
after those that they are computed from. The trees know which categories occur and the
range of numbers, also in the test rows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from boosted_trees import chain_log_probs
from harness import argument_parser, header, row

from ar_models.density.sampler import Sampler
from ar_models.density.table_density import TableDensity
from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.formulas.formula import matches
from ar_models.tables.inequality import violations
from ar_models.tables.number_column import NumberColumn
from tasks.evaluation.fidelity.fidelity import compare
from tasks.evaluation.fidelity.tables import Tables
from tasks.runtime.model_store import load

JUDGED_ROWS = 6000
"""Maximum number of test and of synthetic rows that are compared."""

CONSTANT_RATE = 0.999
"""Share of the training rows from which synthetic rows should keep a constraint."""

Json = dict[str, Any]  # JSON values


def main() -> None:
    """Train and judge each table, and print the results."""
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder of the tables")
    parser.add_argument("--only", nargs="*", help="names of tables; all if none")
    parser.add_argument(
        "--targets",
        type=json.loads,
        default={},
        help='columns of the downstream task, such as {"adult": "income"}',
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings"
    )
    parser.add_argument(
        "--trees", action="store_true", help="compare with a chain of boosted trees"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples")
    arguments = parser.parse_args()
    names = arguments.only or sorted(
        path.parent.name for path in arguments.data.glob("*/*.parquet")
    )
    print(
        header(
            "table",
            "rows",
            "seconds",
            "NLL",
            "constraints",
            "violated",
            "AUC",
            "AUC of training rows",
            "findings",
            "closest",
            "downstream",
            "downstream of training rows",
        )
    )
    chains: list[str] = []
    for name in dict.fromkeys(names):
        with tempfile.TemporaryDirectory() as work:
            target = arguments.targets.get(name)
            cells, density = measure(
                arguments.data / name, Path(work), target, arguments
            )
        print(row(name, *cells), flush=True)
        if arguments.trees:
            chains += beside_trees(name, density, *split(arguments.data / name))
    if chains:
        print()
        print(header("table", "column", "NLL", "NLL of boosted trees"))
        print(*chains, sep="\n")


def measure(
    table: Path, work: Path, target: str | None, arguments: argparse.Namespace
) -> tuple[list[str], TableDensity]:
    """Return the cells of a table's row, from its rows on, and the trained model."""
    train, test = split(table)
    pq.write_table(train, work / "train.parquet")
    began = time.perf_counter()
    density = fit(work, arguments.set)
    lasted = time.perf_counter() - began
    synthetic = Sampler(density).sample(JUDGED_ROWS, seed=arguments.seed)
    synthetic = synthetic.cast(test.select(synthetic.column_names).schema)
    names = synthetic.column_names
    judged = Tables(train.select(names), shuffled(test.select(names)), synthetic)
    found = compare(judged, target)
    downstream = found["downstream"] or {}
    strict = [c for c in derived(density) if rate(c) >= CONSTANT_RATE]
    cells = [
        f"{len(train):,}",
        f"{lasted:.0f}",
        f"{-density.log_prob(test).mean():.2f}",
        str(len(derived(density)) + len(density.encoder.inequalities)),
        percent(violated(density, synthetic, strict)),
        f"{found['two_sample_auc']['synthetic']:.3f}",
        f"{found['two_sample_auc']['train']:.3f}",
        percent(found["plausibility"]["rows"]["synthetic"]),
        f"{found['closest']['share']:.3f}",
        *(
            f"{downstream[key]:.3f}" if downstream else ""
            for key in ("synthetic", "train")
        ),
    ]
    return cells, density


def beside_trees(
    name: str, density: TableDensity, train: pa.Table, test: pa.Table
) -> list[str]:
    """Return rows with the NLL of columns, by the model and by a chain of trees.

    Args:
        name: Name of the table.
        density: The model.
        train: Rows that the trees learn from.
        test: Rows that are judged.
    """
    test = shuffled(test)
    model, encoder = density.model, density.encoder
    names = [
        encoder.names[model.variables[i].column_index] for i in model.ordering_list()
    ]
    rank = {name: float(place) for place, name in enumerate(dict.fromkeys(names))}
    for column in (encoder.columns[j] for j in encoder.order):
        if isinstance(column, DerivedColumn):  # which is known with its parents
            last = max(rank[parent] for parent in column.parents)
            rank[column.name] = max(rank[column.name], last + 1e-3)
    order = sorted(rank, key=rank.__getitem__)
    steps = {
        c.name: step_of(c.plain, encoder.type_of(j))
        for j, c in enumerate(encoder.columns)
    }
    known = {name: step for name, step in steps.items() if step is not None}
    columns = [name for name in order if name in known]
    trees = chain_log_probs(train, test, order, known)
    own = dict(zip(encoder.names, -density.column_log_prob(test).mean(0), strict=True))
    pairs = [(n, float(own[n]), float(-trees[n].mean())) for n in columns]
    sums = [sum(numbers) for numbers in zip(*(pair[1:] for pair in pairs), strict=True)]
    return [
        row(name, column, *(f"{value:.3f}" for value in values))
        for column, *values in [*pairs, ("sum", *sums)]
    ]


def step_of(column: Column, type: pa.DataType) -> float | None:
    """Return the distance of values of a column of numbers, 0 for categories.

    It is None for other columns, such as those with densities.
    """
    if column.kind in ("binary", "categorical"):
        return 0.0
    if not isinstance(column, NumberColumn) or arrow.family(type) not in arrow.NUMBERS:
        return None
    scale = type.scale if arrow.family(type) == "decimal" else column.decimals
    return float(column.step * 10.0**-scale)


def split(table: Path) -> tuple[pa.Table, pa.Table]:
    """Read the training and the test rows of a table."""
    path = table / "train.parquet"
    if path.exists():
        return pq.read_table(path), pq.read_table(path.with_name("test.parquet"))
    rows = shuffled(pq.read_table(table / "all.parquet"), all_rows=True)
    is_test = np.arange(len(rows)) % 5 == 0
    return rows.filter(pa.array(~is_test)), rows.filter(pa.array(is_test))


def shuffled(rows: pa.Table, *, all_rows: bool = False) -> pa.Table:
    """Return rows in random order, at most as many as are judged."""
    order = np.random.default_rng(0).permutation(len(rows))
    return rows.take(order if all_rows else order[:JUDGED_ROWS])


def fit(work: Path, settings: list[str]) -> TableDensity:
    """Train what `chainrule init` proposes, and return the model."""
    config = yaml.safe_load(chainrule(work, "init", "train.parquet"))
    # The test rows are apart, so all but a tenth of these rows are for training.
    config["data"]["split"] = {"valid": 0.08, "calibration": 0.01, "test": 0.01}
    (work / "config.yaml").write_text(yaml.safe_dump(config))
    more = [word for setting in settings for word in ("--set", setting)]
    done = json.loads(chainrule(work, "retrain", "config.yaml", "--json", *more))
    return load(str(work / done["train"]["path"]))


def chainrule(work: Path, *arguments: str) -> str:
    """Run a command in a directory and return its standard output."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, cwd=work, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def derived(density: TableDensity) -> list[DerivedColumn]:
    """Return the columns that have constraints."""
    return [c for c in density.encoder.columns if isinstance(c, DerivedColumn)]


def rate(column: DerivedColumn) -> float:
    """Return the share of the training rows in which a constraint of a column holds."""
    return 1 - column.exceptions / max(1, column.rows)


def violated(
    density: TableDensity, rows: pa.Table, columns: list[DerivedColumn]
) -> float:
    """Return the share of rows that violate the constraints of one of the columns.

    Inequalities that hold as often count, too.
    """
    cells = {name: rows[name].combine_chunks() for name in rows.column_names}
    wrong = np.zeros(len(rows), bool)
    for column in columns:
        holds = np.zeros(len(rows), bool)
        for formula in column.formulas:
            values = formula.evaluate(cells, rows.schema.field(column.name).type)
            holds |= matches(formula, values, cells[column.name])
        wrong |= ~holds
    ordered = [i for i in density.encoder.inequalities if i.rate >= CONSTANT_RATE]
    wrong |= violations(ordered, rows, density.encoder.schema).any(axis=1)
    return float(wrong.mean())


def percent(share: float) -> str:
    """Format a share in percent."""
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
