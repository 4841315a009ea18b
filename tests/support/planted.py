"""Tables with planted constraints and exceptions, and what is found in them."""

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa

from tasks.data.constraints.candidate import Candidate
from tasks.data.constraints.discover import discover
from tasks.data.constraints.sample import Sample, sample_of

ROWS = 2000


def planted(values: np.ndarray, wrong: int, shift: float = 7.0) -> np.ndarray:
    """Return numbers of which every so many are shifted, `wrong` in all."""
    changed = values.copy()
    changed[:: len(values) // wrong][:wrong] += values.dtype.type(shift)
    return changed


def sample(**columns: object) -> Sample:
    """Return the sample that consists of some columns."""
    return sample_of(pa.table(columns))


def texts(candidates: Iterable[Candidate]) -> set[str]:
    """Return candidates as text, such as `total = fare + tip`."""
    return {f"{c.column} = {c.formula.describe()}" for c in candidates}


def discovered(given: Sample, ignored: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the formulas that are chosen for each column, as text."""
    found = discover(given, ignored=ignored)
    return {name: [f.describe() for f in tried] for name, tried in found.items()}


def fare_columns(rows: int = ROWS, wrong: int = 4) -> dict[str, np.ndarray]:
    """Return fares whose total is the sum of four parts and a surcharge by kind."""
    rng = np.random.default_rng(1)
    kind = rng.choice(["day", "night", "airport"], rows, p=[0.6, 0.3, 0.1])
    surcharge = np.select([kind == "night", kind == "airport"], [1.0, 5.25], 0.0)
    fare = np.round(rng.lognormal(2.5, 0.6, rows), 1)
    tip = np.round(fare * rng.random(rows) * (rng.random(rows) < 0.6), 2)
    tolls = np.where(rng.random(rows) < 0.1, rng.choice([5.54, 6.12], rows), 0.0)
    extra = rng.choice([0.0, 0.5, 1.0], rows)
    total = np.round(fare + tip + tolls + extra + surcharge, 2)
    return {
        "fare": fare,
        "tip": tip,
        "tolls": tolls,
        "extra": extra,
        "kind": kind,
        "total": np.round(planted(total, wrong), 2),
    }


def noise_columns(rows: int = 1000) -> dict[str, np.ndarray]:
    """Return independent columns of many types."""
    rng = np.random.default_rng(2)
    whole = {f"whole{k}": rng.integers(0, 10**k, rows) for k in range(1, 6)}
    real = {f"real{k}": np.round(rng.normal(50, 10, rows), k) for k in range(4)}
    words = {
        f"word{k}": rng.choice([f"v{i}" for i in range(3**k)], rows)
        for k in range(1, 5)
    }
    flags = {f"flag{k}": rng.random(rows) < 0.1 * k for k in range(1, 5)}
    sparse = np.where(rng.random(rows) < 0.9, 0, rng.integers(0, 500, rows))
    seconds = rng.integers(0, 10**7, rows).astype("datetime64[s]")
    return {**whole, **real, **words, **flags, "sparse": sparse, "time": seconds}
