"""Reading of a fragment and division of its rows among the splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ar_models.tables.decimals import WideDecimal
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.inequality import Inequality
from ar_models.tables.list_cells import Lists, can_be_modelled
from tasks.config.data import DataConfig
from tasks.data import hashing, hive, splits
from tasks.data.cells import Cells, Representation, representation_of, to_cells
from tasks.data.datasets import Dataset
from tasks.data.fragments import Fragment, read_fragment
from tasks.data.text import decoded_text, find_invalid_text

INVALID_TEXT = "not valid UTF-8"


@dataclass(frozen=True)
class PreparePlan:
    """Everything that a worker needs to read a fragment and divide its rows.

    Attributes:
        data: The configuration of the dataset.
        carried: Columns that the files of the splits hold.
        modelled: Columns that may be modelled, some of `carried`.
        nested: Columns of types that cannot be modelled, some of `carried`.
        representations: Representation of each modelled column.
        types: Arrow type in which each modelled column is modelled; decimals may have
            fewer digits than in the dataset, see `tasks.data.decimal_types`.
        wide: Columns of decimals that are modelled as reals.
        boundaries: Last moments of the splits, if rows are split by time.
        keys: Hive keys.
        periods: Those of them that divide the rows by time, such as day=2026-01-31.
        constraints: Formulas of the derived columns, in the order in which they are
            tried.
        inequalities: Inequalities that rows seldom violate.
    """

    data: DataConfig
    carried: tuple[str, ...]
    modelled: tuple[str, ...]
    representations: Mapping[str, Representation]
    types: Mapping[str, pa.DataType]
    wide: tuple[WideDecimal, ...] = ()
    nested: tuple[str, ...] = ()
    boundaries: tuple[int | float, ...] = ()
    keys: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    constraints: Mapping[str, tuple[Formula, ...]] = field(default_factory=dict)
    inequalities: tuple[Inequality, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, data: DataConfig) -> "PreparePlan":
        """Return the plan for a dataset, without boundaries of splits by time."""
        names, field_of = dataset.schema.names, dataset.schema.field
        carried = tuple(n for n in names if n not in data.exclude)
        known = {f.name for f in dataset.schema if can_be_modelled(f.type)}
        wanted = data.modelled(names)
        modelled = tuple(n for n in wanted if n in known)
        nested = tuple(n for n in wanted if n not in known)
        representations = {
            n: representation_of(field_of(n).type, data.kind_of(n)) for n in modelled
        }
        types = {n: field_of(n).type for n in modelled}
        keys = dataset.hive_keys
        return cls(
            data,
            carried,
            modelled,
            representations,
            types,
            nested=nested,
            keys=tuple(keys),
            periods=tuple(key for key in keys if hive.is_period(key, keys[key])),
        )

    def is_left_out_period(self, name: str) -> bool:
        """Return whether a column is a period without a configured kind."""
        return name in self.periods and self.data.kind_of(name) is None

    def schema(self, dataset: pa.Schema) -> pa.Schema:
        """Return the schema of a dataset with the types in which it is modelled."""
        return pa.schema([f.with_type(self.types.get(f.name, f.type)) for f in dataset])


@dataclass(frozen=True)
class RowFault:
    """A fault for which a row is put in quarantine.

    Attributes:
        row: Number of the row in its fragment.
        column: Name of the column at fault.
        reason: What is wrong with its value.
    """

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class DividedFragment:
    """The rows of a fragment with their splits.

    Attributes:
        table: The rows (n), with all columns that were read.
        cells: Cells of the modelled columns, of the rows with valid text.
        codes: (n,) index into `SPLITS` of each row, -1 for quarantine.
        has_text: (n,) true where the text of a row is valid.
        faults: Why rows are in quarantine.
    """

    table: pa.Table
    cells: dict[str, Cells]
    codes: np.ndarray
    has_text: np.ndarray
    faults: list[RowFault]


def divide_fragment(plan: PreparePlan, fragment: Fragment) -> DividedFragment:
    """Read a fragment and determine the split of every row.

    Raises:
        pa.ArrowInvalid: The file is damaged.
    """
    split = plan.data.split
    wanted = [*plan.carried, *([split.column] if split.column else [])]
    table = read_fragment(fragment, wanted, dictionaries=True)
    readable, has_text, faults = _without_invalid_text(table)
    cells = {
        name: to_cells(
            readable.column(name), plan.types[name], plan.representations[name]
        )
        for name in plan.modelled
    }
    if split.by == "time":
        found = _split_by_time(plan, fragment, readable)
        assert split.column is not None
        for row in np.flatnonzero(has_text)[found < 0].tolist():
            faults.append(RowFault(row, split.column, "no time to split by"))
    else:
        exact = _exact_cells(plan, fragment.schema, readable)
        columns = cells | exact | splits.id_cells(readable, plan.data.id)
        hashes = hashing.row_hashes(columns, split.seed)
        found = splits.split_by_hash(hashes, split)
    codes = np.full(table.num_rows, -1, np.int8)
    codes[has_text] = found
    faults.sort(key=lambda fault: (fault.row, fault.column, fault.reason))
    return DividedFragment(table, cells, codes, has_text, faults)


def _exact_cells(
    plan: PreparePlan, schema: pa.Schema, table: pa.Table
) -> dict[str, Cells]:
    """Return the cells of the columns that are modelled in another type than theirs.

    The hash of a row must not depend on the type in which other rows can be modelled.
    """
    found = {}
    for name, type in plan.types.items():
        own = schema.field(name).type
        if type != own:
            representation = representation_of(own, plan.data.kind_of(name))
            found[name] = to_cells(table.column(name), own, representation)
    return found


def _without_invalid_text(
    table: pa.Table,
) -> tuple[pa.Table, np.ndarray, list[RowFault]]:
    """Return the rows with valid text, the mask of these rows, and the faults."""
    has_text = np.ones(table.num_rows, bool)
    faults = []
    invalid = find_invalid_text(table)
    for name, mask in invalid.items():
        has_text &= ~mask
        rows = np.flatnonzero(mask).tolist()
        faults += [RowFault(row, name, INVALID_TEXT) for row in rows]
    if not invalid:
        return table, has_text, faults
    for name in invalid:
        # Else the dictionary would keep the invalid text.
        place = table.column_names.index(name)
        table = table.set_column(place, name, decoded_text(table.column(name)))
    return table.filter(pa.array(has_text)), has_text, faults


def _split_by_time(
    plan: PreparePlan, fragment: Fragment, table: pa.Table
) -> np.ndarray:
    column = plan.data.split.column
    assert column is not None
    type = fragment.schema.field(column).type
    moments = to_cells(table.column(column), type)
    assert not isinstance(moments, Lists)  # which hold no time
    return splits.split_by_time(moments, plan.boundaries)
