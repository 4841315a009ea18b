"""Break cells of rows, and see whether explanations name the columns that were broken.

    pip install -c constraints.txt -e '.[bench]'
    python benchmarks/explanations.py DATA --only tables_flights adult_census

What `chainrule init` proposes is trained on each table of DATA, whose layout is that of
`benchmarks/tables.py`. Then cells of test rows are broken, in these ways:

- one, two or three columns have the values of other rows;
- scale: a number is ten times as large;
- shift: a number is larger by four standard deviations;
- swapped: two columns of the same type have each other's value;
- constraint: a derived column has the value of another row, so that a constraint that
  always held in training does not.

Of the broken rows, those with p-values of at most 1 % count as flagged. For these the
table has the share whose explanation names a broken column first, or first names a
constraint between columns of which one was broken, and the share whose first columns
are the broken ones, all of them and no others. PyOD's isolation forest is fitted to the
same rows, flags as many ordinary rows, and is explained by SHAP's values of trees. The
milliseconds are those of explaining one row.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shap
from harness import argument_parser, header, row
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from tables import derived, fit, split

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity

BROKEN = 300
"""Number of rows that are broken in each way."""

FLAGGED_P = 0.01
"""P-value up to which a row is flagged."""

SHIFT = 4.0
"""Standard deviations by which a number is shifted."""

CALIBRATION = "data.split.calibration=0.1"
"""Share of the rows that p-values need."""

MAX_TRAIN_ROWS = 12_000
"""Maximum number of training rows."""

Names = tuple[str, ...]


class Broken(NamedTuple):
    """Rows with broken cells.

    Attributes:
        rows: The rows.
        columns: Names of the broken columns of each row.
    """

    rows: pa.Table
    columns: list[Names]


class Explained(NamedTuple):
    """Flags and explanations of rows by one detector.

    Attributes:
        flagged: Whether it flags each row, (n,).
        named: Columns of each row, the most anomalous first, and for each the columns
            of the constraint that its explanation names, itself at least.
        seconds: Time of the explanations.
    """

    flagged: NDArray[np.bool_]
    named: list[list[tuple[str, frozenset[str]]]]
    seconds: float


def main() -> None:
    """Train, break rows of each table, and print what explanations name."""
    parser = argument_parser(__doc__)
    parser.add_argument("data", type=Path, help="folder of the tables")
    parser.add_argument("--only", nargs="+", required=True, help="names of tables")
    arguments = parser.parse_args()
    print(
        header(
            *("table", "broken", "detector", "flagged", "a broken column first"),
            *("exactly the broken columns first", "ms per row"),
        )
    )
    for name in arguments.only:
        for cells in measure(arguments.data / name):
            print(row(name, *cells), flush=True)


def measure(table: Path) -> Iterator[list[str]]:
    """Yield the cells of a table's rows, from the kind of fault on."""
    train, test = split(table)
    train, test = train.slice(0, MAX_TRAIN_ROWS), test.slice(0, 4 * BROKEN)
    with tempfile.TemporaryDirectory() as work:
        pq.write_table(train, Path(work) / "train.parquet")
        density = fit(Path(work), [CALIBRATION])
    names = density.columns
    train, test = train.select(names), test.select(names)
    detectors: Mapping[str, Callable[[pa.Table], Explained]] = {
        "chainrule": partial(explained, density),
        "IForest, SHAP": Forest(train, test).explain,
    }
    for explain in detectors.values():
        explain(test)  # The first call compiles loops.
    for kind, broken in faults(density, test):
        for detector, explain in detectors.items():
            found = explain(broken.rows)
            first, exact = hits(broken, found)
            flagged = int(found.flagged.sum())
            yield [
                kind,
                detector,
                f"{flagged / len(broken.columns):.0%}",
                percent(first, flagged),
                percent(exact, flagged),
                f"{1000 * found.seconds / len(broken.columns):.2f}",
            ]


def hits(broken: Broken, found: Explained) -> tuple[int, int]:
    """Count flagged rows with a broken column first, and with exactly those first."""
    first = exact = 0
    for columns, named, flagged in zip(
        broken.columns, found.named, found.flagged, strict=True
    ):
        if flagged and named:
            first += not named[0][1].isdisjoint(columns)
            exact += {name for name, _ in named[: len(columns)]} == set(columns)
    return first, exact


def faults(density: TableDensity, rows: pa.Table) -> Iterator[tuple[str, Broken]]:
    """Yield rows that are broken in each way that the columns allow, by its name."""
    rng = np.random.default_rng(0)
    numeric = [f.name for f in rows.schema if is_number(f.type)]
    for count, name in enumerate(("one column", "two columns", "three columns"), 1):
        yield name, exchanged(rows, rng, rows.column_names, count)
    if numeric:
        yield "scale", changed(rows, rng, numeric, lambda x, _: 10 * x)
        yield "shift", changed(rows, rng, numeric, lambda x, std: x + SHIFT * std)
    pairs = [
        (a, b)
        for k, a in enumerate(numeric)
        for b in numeric[k + 1 :]
        if rows.schema.field(a).type == rows.schema.field(b).type
    ]
    if pairs:
        yield "swapped", swapped(rows, rng, pairs)
    strict = [c.name for c in derived(density) if c.exceptions == 0]
    if strict:
        yield "constraint", exchanged(rows, rng, strict, 1)


def exchanged(
    rows: pa.Table, rng: np.random.Generator, names: list[str], count: int
) -> Broken:
    """Give some columns of each row the values of other rows, which differ."""
    first = rows.slice(0, BROKEN).to_pylist()
    pool = rows.to_pylist()
    columns = []
    for each in first:
        chosen = tuple(rng.permutation(names)[:count].tolist())
        differing = []
        for name in chosen:
            others = [pool[k][name] for k in rng.integers(0, len(pool), 50)]
            others = [value for value in others if value != each[name]]
            if others:
                each[name] = others[0]
                differing.append(name)
        columns.append(tuple(differing))
    return only_broken(pa.Table.from_pylist(first, rows.schema), columns)


def changed(
    rows: pa.Table,
    rng: np.random.Generator,
    names: list[str],
    change: Callable[[float, float], float],
) -> Broken:
    """Change one number of each row by a function of it and the column's deviation."""
    first = rows.slice(0, BROKEN).to_pylist()
    deviations = {name: pc.stddev(rows[name]).as_py() or 0.0 for name in names}
    columns: list[Names] = []
    for each in first:
        known = [name for name in rng.permutation(names) if each[name] is not None]
        columns.append(())
        if known:
            name = str(known[0])
            before = each[name]
            each[name] = type(before)(change(before, deviations[name]))
            if fits(each[name], rows.schema.field(name).type):
                columns[-1] = (name,) if each[name] != before else ()
            else:
                each[name] = before
    return only_broken(pa.Table.from_pylist(first, rows.schema), columns)


def swapped(
    rows: pa.Table, rng: np.random.Generator, pairs: list[tuple[str, str]]
) -> Broken:
    """Exchange the values of two columns of each row, which differ."""
    first = rows.slice(0, BROKEN).to_pylist()
    columns: list[Names] = []
    for each in first:
        a, b = pairs[int(rng.integers(len(pairs)))]
        each[a], each[b] = each[b], each[a]
        columns.append((a, b) if each[a] != each[b] else ())
    return only_broken(pa.Table.from_pylist(first, rows.schema), columns)


def only_broken(rows: pa.Table, columns: list[Names]) -> Broken:
    """Leave out the rows of which no cell has changed."""
    kept = [k for k, names in enumerate(columns) if names]
    return Broken(rows.take(kept), [columns[k] for k in kept])


def is_number(type: pa.DataType) -> bool:
    """Return whether cells are integers or floating-point numbers."""
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))


def fits(value: float, type: pa.DataType) -> bool:
    """Return whether a column of a type can hold a number."""
    try:
        pa.scalar(value, type)
    except pa.ArrowInvalid:
        return False
    return True


def explained(density: TableDensity, rows: pa.Table) -> Explained:
    """Score and explain rows as `chainrule score` does."""
    columns = len(density.columns)
    scorer = Scorer(density, ScoreOptions(explain="none"))
    began = time.perf_counter()
    flagged = scorer.score(rows)["p_value"].to_numpy() <= FLAGGED_P
    without = time.perf_counter() - began
    scorer = Scorer(density, ScoreOptions(explain="all", explain_columns=columns))
    began = time.perf_counter()
    explanations = scorer.score(rows)["explanation"].to_pylist()
    seconds = time.perf_counter() - began - without
    formulas = {
        column.name: frozenset(
            name for formula in column.formulas for name in formula.columns
        )
        for column in derived(density)
    }
    named = [
        [
            (
                entry["column"],
                frozenset({entry["column"]})
                | (
                    formulas.get(entry["column"], frozenset())
                    if " = " in entry["expected"]
                    else frozenset()
                ),
            )
            for entry in explanation
        ]
        for explanation in explanations
    ]
    return Explained(flagged, named, seconds)


class Forest:
    """An isolation forest with SHAP's explanations, on categories by number.

    Args:
        train: Training rows.
        test: Ordinary rows, 1 % of which it flags.
    """

    def __init__(self, train: pa.Table, test: pa.Table) -> None:
        self.names = train.column_names
        self.categories = {
            name: {value: k for k, value in enumerate(train[name].unique().to_pylist())}
            for name in self.names
            if not is_number(train.schema.field(name).type)
        }
        forest = IsolationForest(random_state=0).fit(self.encode(train))
        self.forest = forest
        ordinary = forest.score_samples(self.encode(test))
        self.threshold = float(np.quantile(ordinary, FLAGGED_P))
        self.explainer = shap.TreeExplainer(forest)

    def encode(self, rows: pa.Table) -> NDArray[np.float64]:
        """Return cells as numbers: of categories their place, of nulls and new ones -1.

        Args:
            rows: Rows, n.

        Returns:
            (n, columns).
        """
        columns = []
        for name in self.names:
            values = rows[name].to_pylist()
            if name in self.categories:
                values = [self.categories[name].get(value, -1) for value in values]
            cells = np.array([np.nan if v is None else v for v in values], float)
            columns.append(np.nan_to_num(cells, nan=-1.0))
        return np.stack(columns, 1)

    def explain(self, rows: pa.Table) -> Explained:
        """Score rows, and order columns by their SHAP values."""
        x = self.encode(rows)
        flagged = self.forest.score_samples(x) <= self.threshold
        began = time.perf_counter()
        values = np.asarray(self.explainer.shap_values(x))
        seconds = time.perf_counter() - began
        # Low path lengths are anomalous, so the lowest values are named first.
        named = [
            [(self.names[k], frozenset({self.names[k]})) for k in np.argsort(each)]
            for each in values
        ]
        return Explained(flagged, named, seconds)


def percent(count: int, total: int) -> str:
    """Format a share of flagged rows in percent, empty if there are none."""
    return f"{count / total:.0%}" if total else ""


if __name__ == "__main__":
    main()
