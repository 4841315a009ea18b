"""Plant violations of constraints of every kind, and see whether scoring finds them.

    python benchmarks/violations.py

A table of 20,000 rows satisfies one constraint of each kind. What `chainrule init`
proposes is trained on it. Then 20 of 20,000 new rows violate one constraint, by another
value that its column has; this is repeated for each constraint. The table has, for
each, how many of the 20 rows are among the 30 with the highest anomaly scores, and in
how many of the 20 the explanation names the constraint.
"""

import datetime
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import argument_parser, header, row
from tables import derived, fit

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity

PLANTED = 20
"""Number of rows with a violation."""

FIRST = 30
"""Number of rows with the highest scores that are looked at."""

COLUMNS = {
    "sum": "total",
    "constant per category": "price",
    "percentage": "vat",
    "ratio": "speed",
    "exponential": "value",
    "integer division": "minutes",
    "clock": "end",
    "part of a timestamp": "month",
    "copy": "paid",
    "function of one column": "country",
    "function of two columns": "miles",
    "prefix": "grade",
    "inequality": "opened",
}
"""A column with a constraint of each kind."""


def main() -> None:
    """Train, plant violations of each constraint, and print what is found."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each table")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as work:
        pq.write_table(table(rows, 0), Path(work) / "train.parquet")
        density = fit(Path(work), [])
    ordinary = table(rows, 1)
    scores = Scorer(density, ScoreOptions()).score(ordinary)["anomaly_score"]
    print(
        header("constraint", "formula", f"of {PLANTED} in the first {FIRST}", "named")
    )
    known = {c.name: f"= {c.formulas[0].describe()}" for c in derived(density)}
    for each in density.encoder.inequalities:
        known[each.column] = f"{each.operator} {each.right}"
    for kind, column in COLUMNS.items():
        planted = violated(ordinary, column)
        others = scores.to_numpy()[PLANTED:]
        found, named = detected(density, planted, kind, others)
        text = f"{column} {known.get(column, 'has none')}"
        print(row(kind, text, found, named))


def table(rows: int, seed: int) -> pa.Table:
    """Return a table whose columns satisfy the constraints."""
    rng = np.random.default_rng(seed)
    fare = np.round(rng.lognormal(2.5, 0.6, rows), 2)
    tip = np.round(fare * rng.random(rows) * (rng.random(rows) < 0.6), 2)
    kind = rng.choice(["day", "night", "airport"], rows, p=[0.6, 0.3, 0.1])
    surcharge = np.select([kind == "night", kind == "airport"], [1.5, 5.25], 0.75)
    net = np.round(rng.lognormal(4, 1, rows), 2)
    distance = np.round(rng.gamma(3, 4, rows) + 1, 1)
    hours = np.round(rng.uniform(0.2, 3, rows), 2)
    years = np.round(rng.uniform(0, 30, rows), 1)
    seconds = rng.integers(60, 7200, rows)
    start, late = rng.integers(300, 1380, rows), rng.geometric(0.05, rows)
    end = (start + late) % 1440
    placed = np.datetime64("2024-01-01T00:00:00") + rng.integers(0, 366 * 86400, rows)
    opened = np.datetime64("2024-01-01") + rng.integers(0, 366, rows)
    closed = opened + rng.geometric(0.02, rows)
    month = placed.astype("datetime64[M]").astype(int) % 12 + 1
    due = np.round(rng.lognormal(3, 1, rows), 2)
    city, origin = rng.integers(0, 60, rows), rng.integers(0, 5, rows)
    level = rng.integers(1, 6, rows)
    grade = np.array(list("ABCDE"))[rng.integers(0, 5, rows)]
    return pa.table(
        {
            "fare": fare,
            "tip": tip,
            "total": np.round(fare + tip, 2),
            "kind": kind,
            "price": np.round(distance * 2 + surcharge, 2),
            "net": net,
            "vat": np.round(0.19 * net, 2),
            "distance": distance,
            "hours": hours,
            "speed": np.round(distance / hours, 1),
            "years": years,
            "value": np.round(100 * np.exp(0.2 * years), 2),
            "seconds": seconds,
            "minutes": seconds // 60,
            "start": start // 60 * 100 + start % 60,
            "late": late,
            "end": end // 60 * 100 + end % 60,
            "placed": placed,
            "month": month,
            "due": due,
            "paid": due,
            "city": np.char.add("city ", city.astype(str)),
            "country": np.char.add("country ", (city % 7).astype(str)),
            "origin": np.char.add("from ", origin.astype(str)),
            "miles": 100 + (origin * 131 + city * city * 17) % 997,
            "grade": grade,
            "subgrade": np.char.add(grade, level.astype(str)),
            "opened": opened,
            "closed": closed,
        }
    )


def violated(ordinary: pa.Table, column: str) -> pa.Table:
    """Return the first rows with other values of a column, which it has elsewhere.

    The values of `opened` are later than those of `closed`.
    """
    first = ordinary.slice(0, PLANTED)
    if column == "opened":  # rows for which there are later dates
        is_early = pc.less(ordinary["closed"], datetime.date(2024, 10, 1))
        first = ordinary.filter(is_early).slice(0, PLANTED)
    others = ordinary[column].slice(PLANTED, 50 * PLANTED)
    values = []
    for place in range(PLANTED):
        own = first[column][place]
        differ = others.filter(pc.not_equal(others, own))
        if column == "opened":
            differ = others.filter(pc.greater(others, first["closed"][place]))
        values.append(differ[place % len(differ)].as_py())
    position = first.column_names.index(column)
    type = ordinary.schema.field(column).type
    return first.set_column(position, column, [pa.array(values, type)])


def detected(
    density: TableDensity, planted: pa.Table, kind: str, ordinary: np.ndarray
) -> tuple[int, int]:
    """Return how many planted rows are found, and how many explanations name it."""
    scored = Scorer(density, ScoreOptions(explain_columns=3)).score(planted)
    lowest = np.sort(scored["anomaly_score"].to_numpy())
    # A planted row is among the first if few ordinary and planted rows are above it.
    above = [
        (ordinary >= score).sum() + (lowest > score).sum() for score in lowest.tolist()
    ]
    column, sign = COLUMNS[kind], " = "
    if kind == "inequality":  # a violation counts for the later column
        column, sign = "closed", "opened <= closed"
    named = sum(
        any(e["column"] == column and sign in e["expected"] for e in explanation)
        for explanation in scored["explanation"].to_pylist()
    )
    return int((np.array(above) < FIRST).sum()), named


if __name__ == "__main__":
    main()
