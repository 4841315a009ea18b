"""The first pass over a dataset: rows per split and sketches of training rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.list_cells import Lists
from tasks.config.data import DataConfig
from tasks.data.cells import Cells, select_cells
from tasks.data.constraints.verification import Tally, count_matches, count_violations
from tasks.data.datasets import BadFile
from tasks.data.division import PreparePlan, divide_fragment
from tasks.data.fragments import Fragment
from tasks.data.hashing import cell_hashes
from tasks.data.keys import KeySketch, sketch_keys
from tasks.data.quarantine import file_fault, readable_results
from tasks.data.sketches import Sketch, max_exact, merge, sketch_column
from tasks.data.splits import SPLITS
from tasks.runtime import cluster

SAMPLE_ROWS = 1000
"""Number of cells that are compared first to find out that a column is not constant."""


@dataclass(frozen=True)
class Constancy:
    """A column's first value, and whether all rows hold it.

    Attributes:
        is_constant: Whether all rows hold the same value, counting null as a value.
        first: The value of the first row, as an Arrow array of length 1.
    """

    is_constant: bool
    first: pa.Array

    def merge(self, other: "Constancy") -> "Constancy":
        """Return whether the rows of both hold the same value."""
        if not (self.is_constant and other.is_constant):
            return Constancy(False, self.first)
        # Compared by repr, so that NaN equals NaN.
        own, others = (repr(arrow.python_values(c.first)) for c in (self, other))
        return Constancy(own == others, self.first)


@dataclass
class Survey:
    """Row counts by split, and sketches of the training rows.

    Attributes:
        counts: Number of rows of each split.
        sketches: Sketch of the training rows of each modelled column.
        constancies: Whether each modelled column is constant over all rows.
        quarantined: Number of rows that belong to no split.
        tallies: In how many training rows the constraints of each derived column hold.
        keys: Sketches of the training rows of ids and of texts.
        inequalities: In how many training rows both sides of each inequality are known,
            and how many of these violate it, (inequalities, 2).
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(SPLITS), np.int64))
    sketches: dict[str, Sketch] = field(default_factory=dict)
    constancies: dict[str, Constancy] = field(default_factory=dict)
    quarantined: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    keys: dict[str, KeySketch] = field(default_factory=dict)
    inequalities: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def add(self, other: "Survey", plan: PreparePlan) -> None:
        """Add the rows of another survey to this one."""
        self.counts = self.counts + other.counts
        self.quarantined += other.quarantined
        if len(other.inequalities):
            known = self.inequalities if len(self.inequalities) else 0
            self.inequalities = other.inequalities + known
        for name, sketch in other.sketches.items():
            if name in self.sketches:
                sketch = merge(self.sketches[name], sketch, max_exact_of(plan, name))
            self.sketches[name] = sketch
        for name, constancy in other.constancies.items():
            if name in self.constancies:
                constancy = self.constancies[name].merge(constancy)
            self.constancies[name] = constancy
        for name, tally in other.tallies.items():
            if name in self.tallies:
                tally = self.tallies[name].merge(tally)
            self.tallies[name] = tally
        for name, key in other.keys.items():
            self.keys[name] = self.keys[name].merge(key) if name in self.keys else key


def max_exact_of(plan: PreparePlan, name: str) -> int:
    """Return the number of distinct values up to which a column's sketch is exact."""
    return max_exact(plan.data, len(plan.modelled), plan.representations[name])


def survey_rows(
    plan: PreparePlan, fragments: list[Fragment]
) -> tuple[Survey, list[BadFile]]:
    """Survey all rows on the Ray cluster.

    Returns:
        The survey of the files that can be read, and the files that cannot.
    """
    surveys = cluster.stream(
        partial(survey_fragment, plan),
        fragments,
        what="prepare: rows sketched",
        units=lambda fragment: fragment.rows,
    )
    return merge_surveys(fragments, surveys, plan)


def survey_fragment(plan: PreparePlan, fragment: Fragment) -> Survey | str:
    """Survey the rows of a fragment, or return what is wrong with its file."""
    try:
        divided = divide_fragment(plan, fragment)
    except pa.ArrowInvalid as error:
        return file_fault(plan.data, error)
    codes = divided.codes
    is_train = codes[divided.has_text] == SPLITS.index("train")
    survey = Survey(
        np.bincount(codes[codes >= 0], minlength=len(SPLITS)),
        quarantined=int((codes < 0).sum()),
    )
    for name, cells in divided.cells.items():
        own = select_cells(cells, is_train)
        exact = max_exact_of(plan, name)
        survey.sketches[name] = sketch_column(own, plan.types[name], exact)
        readable = divided.table.column(name).filter(pa.array(divided.has_text))
        first = readable.slice(0, 1)
        if len(first):
            constancy = Constancy(is_constant(cells), first.combine_chunks())
            survey.constancies[name] = constancy
    survey.keys = sketch_keys(plan, divided)
    if plan.constraints or plan.inequalities:
        train = divided.table.filter(pa.array(codes == SPLITS.index("train")))
        schema = plan.schema(fragment.schema)
        survey.tallies = count_matches(train, schema, plan.constraints)
        survey.inequalities = count_violations(train, schema, plan.inequalities)
    return survey


def merge_surveys(
    fragments: list[Fragment], surveys: Iterable[Survey | str], plan: PreparePlan
) -> tuple[Survey, list[BadFile]]:
    """Merge the surveys of fragments; the files with faults are set aside.

    Surveys of equally many fragments are merged, as the digits of a binary counter
    carry, so that small ones are not merged one by one into a large one.
    """
    bad = list[BadFile]()
    pending: list[tuple[int, Survey]] = []
    for survey in readable_results(fragments, surveys, bad):
        merged, size = survey, 1
        while pending and pending[-1][0] == size:
            merged = _sum(pending.pop()[1], merged, plan)
            size *= 2
        pending.append((size, merged))
    total = Survey()
    for _, survey in reversed(pending):
        total = _sum(survey, total, plan)
    return total, bad


def _sum(first: Survey, second: Survey, plan: PreparePlan) -> Survey:
    """Add a survey to the one of earlier fragments, and return that."""
    first.add(second, plan)
    return first


def is_constant(cells: Cells) -> bool:
    """Return whether all cells of a column are equal, counting null as a value."""
    if isinstance(cells, Lists):
        if cells.missing is not None:
            return bool(cells.missing.all())
        hashes = cell_hashes(cells)
        return bool((hashes == hashes[:1]).all())
    if cells.off is not None:
        return False
    if cells.missing is not None:
        return bool(cells.missing.all())
    values = cells.values
    if values.dtype == np.float64 and len(values) and np.isnan(values[0]):
        return bool(np.isnan(values).all())
    first = values[:1]
    return bool((values[:SAMPLE_ROWS] == first).all() and (values == first).all())


def check_splits(survey: Survey, data: DataConfig, rows: int) -> None:
    """Raise if a split got no row.

    Args:
        survey: The survey of all rows.
        data: The configuration, for its path and the shares of the splits.
        rows: Number of rows of the dataset.

    Raises:
        ValueError: The message names the empty splits and how many rows are needed.
    """
    empty = [s for s, n in zip(SPLITS, survey.counts.tolist(), strict=True) if n == 0]
    if not empty:
        return
    split = data.split
    shares = (split.valid, split.calibration, split.test)
    least = min(*shares, 1 - sum(shares))
    advice = (
        f"about {int(np.ceil(5 / least))} rows are needed"
        if least > 0
        else "every split needs a share above 0"
    )
    raise ValueError(
        f"{data.path}: with {rows} rows no row is in the splits {', '.join(empty)}; "
        f"with the shares of data.split {advice}"
    )
