"""Types in which decimals of more than 64 bits are modelled, found in their values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.decimals import WideDecimal, least_places
from tasks.data.cells import representation_of
from tasks.data.datasets import BadFile
from tasks.data.division import PreparePlan
from tasks.data.fragments import Fragment, read_fragment
from tasks.data.quarantine import file_fault, readable_results
from tasks.runtime import cluster

MAX_DIGITS = 18
"""Number of digits that always fit 64 bits."""


@dataclass(frozen=True)
class DecimalExtent:
    """The number of decimals and the range of the values of a column of decimals.

    Attributes:
        places: Least number of decimals with which all values can be written.
        low: Least value.
        high: Greatest value.
    """

    places: int
    low: Decimal
    high: Decimal

    @property
    def digits(self) -> int:
        """Number of digits of the largest value, its decimals included."""
        largest = max(self.low.copy_abs(), self.high.copy_abs())
        before = largest.adjusted() + 1 if largest >= 1 else 0
        return before + max(0, self.places)

    def merge(self, other: "DecimalExtent") -> "DecimalExtent":
        """Return the extent of the rows of both."""
        return DecimalExtent(
            max(self.places, other.places),
            min(self.low, other.low),
            max(self.high, other.high),
        )


def with_decimal_types(plan: PreparePlan, fragments: Sequence[Fragment]) -> PreparePlan:
    """Return a plan in which decimals with too many digits are modelled with fewer.

    Such a column is counted in units of its last decimal that is not always 0, or
    modelled as reals where 64 bits do not hold these units either.

    Args:
        plan: Which columns are modelled.
        fragments: Fragments of the files that can be read.
    """
    wide = [name for name, type in plan.types.items() if _may_exceed(type)]
    if not wide or not fragments:
        return plan
    extents = cluster.stream(
        partial(_extents_of, plan, wide),
        fragments,
        what="prepare: rows of decimals",
        units=lambda fragment: fragment.rows,
    )
    return _with_extents(plan, _merged(fragments, extents))


def preview_decimal_types(
    plan: PreparePlan, fragments: Sequence[Fragment]
) -> PreparePlan:
    """Return what `with_decimal_types` does, computed in this process."""
    wide = [name for name, type in plan.types.items() if _may_exceed(type)]
    if not wide:
        return plan
    extents = [_extents_of(plan, wide, fragment) for fragment in fragments]
    return _with_extents(plan, _merged(fragments, extents))


def _may_exceed(type: pa.DataType) -> bool:
    """Return whether 64 bits may not hold the values of a type."""
    return arrow.family(type) == "decimal" and arrow.plain(type).precision > MAX_DIGITS


def _extents_of(
    plan: PreparePlan, columns: Sequence[str], fragment: Fragment
) -> dict[str, DecimalExtent] | str:
    """Return the extents of columns in a fragment, or what is wrong with its file."""
    try:
        table = read_fragment(fragment, columns)
    except pa.ArrowInvalid as error:
        return file_fault(plan.data, error)
    found = {}
    for name in columns:
        array = arrow.flat(table.column(name)).drop_null()
        if len(array):
            scale = array.type.scale
            ends = pc.min_max(array.cast(pa.decimal256(76, scale))).as_py()
            found[name] = DecimalExtent(least_places(array), ends["min"], ends["max"])
    return found


def _merged(
    fragments: Sequence[Fragment],
    extents: Iterable[dict[str, DecimalExtent] | str],
) -> dict[str, DecimalExtent]:
    """Merge the extents of fragments, leaving out files that cannot be read."""
    total: dict[str, DecimalExtent] = {}
    bad: list[BadFile] = []  # the survey reports them
    for found in readable_results(fragments, extents, bad):
        for name, extent in found.items():
            total[name] = total[name].merge(extent) if name in total else extent
    return total


def _with_extents(
    plan: PreparePlan, extents: Mapping[str, DecimalExtent]
) -> PreparePlan:
    """Return a plan with the types in which columns of some extents are modelled."""
    types, representations = dict(plan.types), dict(plan.representations)
    wide = []
    for name, extent in extents.items():
        type = arrow.plain(plan.types[name])
        places = max(0, extent.places)
        if extent.digits > MAX_DIGITS:
            types[name] = pa.float64()
            ends = str(extent.low), str(extent.high)
            wide.append(WideDecimal(name, extent.places, *ends))
        elif places < type.scale:
            before = type.precision - type.scale
            types[name] = pa.decimal128(min(38, max(1, before + places)), places)
        representations[name] = representation_of(types[name], plan.data.kind_of(name))
    return replace(plan, types=types, representations=representations, wide=tuple(wide))
