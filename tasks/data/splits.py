"""The split that a row belongs to: a pure function of its content or of its time."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from tasks.config.data import SplitConfig
from tasks.data.cells import Cells, to_cells
from tasks.data.counts import EmpiricalDistribution

FORMAT = 2
"""Part of the job key; raised when the same rows would be split differently."""

SPLITS = ("train", "valid", "calibration", "test")


def id_cells(table: pa.Table, ids: Sequence[str]) -> dict[str, Cells]:
    """Return the cells of the id columns, which distinguish otherwise equal rows.

    Ids of types that have no cells, such as structs, are not part of a row's hash.
    """
    types = {name: table.schema.field(name).type for name in ids}
    return {
        name: to_cells(table.column(name), type)
        for name, type in types.items()
        if arrow.family(type) is not None
    }


def split_by_hash(hashes: np.ndarray, split: SplitConfig) -> np.ndarray:
    """Return the split of each row by its hash.

    A row stays in its split when the dataset grows.

    Args:
        hashes: (n,) uint64.
        split: Its shares are those of the splits.

    Returns:
        Indices into `SPLITS`, (n,) int8.
    """
    uniform = (hashes >> np.uint64(11)) * 2.0**-53
    edges = np.cumsum([split.test, split.calibration, split.valid])
    return (3 - np.searchsorted(edges, uniform, side="right")).astype(np.int8)


def split_by_time(
    moments: arrow.Cells, boundaries: Sequence[int | float]
) -> np.ndarray:
    """Return the split of each row by its time.

    Args:
        moments: Cells of the time column.
        boundaries: Last moments of train, valid and calibration.

    Returns:
        Indices into `SPLITS`, (n,) int8; -1 for rows without a time.
    """
    codes = np.searchsorted(np.asarray(boundaries), moments.values, side="left")
    codes = codes.astype(np.int8)
    for mask in (moments.missing, moments.off):
        if mask is not None:
            codes[mask] = -1
    if moments.values.dtype == np.float64:
        codes[np.isnan(moments.values)] = -1
    return codes


def time_boundaries(
    moments: EmpiricalDistribution, split: SplitConfig
) -> list[int | float]:
    """Return the last moments of train, valid and calibration.

    Rows of one moment stay together: each later split takes whole moments, from the
    newest backwards, until it has its share.

    Raises:
        ValueError: There are too few distinct moments.
    """
    total = float(moments.counts.sum())
    last = len(moments.values) - 1
    ends: list[int | float] = []
    for share in (split.test, split.calibration, split.valid):
        taken = 0.0
        while last >= 0 and taken < share * total * (1 - 1e-9):
            taken += float(moments.counts[last])
            last -= 1
        if last < 0:
            raise ValueError(
                f"data.split: {len(moments.values)} distinct times are too few for "
                "four splits; use smaller shares, or split by hash"
            )
        ends.append(moments.values[last].item())
    return ends[::-1]
