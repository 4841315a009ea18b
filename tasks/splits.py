"""Which split a row belongs to: a pure function of its content or of its time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from ar_models import cells
from ar_models.lists import Lists
from tasks.config import SplitConfig
from tasks.profile import Points, base_of, cells_of, mix

FORMAT = 2
"""Enters the job key; raised when the same rows would be divided otherwise."""

SPLITS = ("train", "valid", "calibration", "test")

_NULL = np.uint64(0x6A09E667F3BCC909)
_HASH_KEY = "chainrule-splits"  # 16 bytes, as pandas asks for


def id_cells(table: pa.Table, ids: Sequence[str]) -> dict[str, cells.Cells | Lists]:
    """What tells rows apart that are otherwise alike, by column.

    Ids of types that hold no cells, such as structs, take no part in a row's hash.
    """
    types = {name: table.schema.field(name).type for name in ids}
    return {
        name: cells_of(table.column(name), type, base_of(type, None))
        for name, type in types.items()
        if cells.family(type) is not None
    }


def row_hashes(columns: Mapping[str, cells.Cells | Lists], seed: int) -> np.ndarray:
    """A 64-bit hash of each row's content, (n,) uint64.

    Equal rows have equal hashes, whatever the order of columns, the width of their
    types, the file or the dictionary they stand in. The words are hashed by pandas'
    SipHash, numbers by their 64 bits.
    """
    total: np.ndarray | None = None
    for name, cell in columns.items():
        salt = pd.util.hash_array(np.array([name], object), hash_key=_HASH_KEY)
        hashes = mix(cell_hashes(cell) ^ salt)
        total = hashes if total is None else total + hashes
    assert total is not None
    # numpy warns of the overflow that is meant here, for scalars only.
    return mix(total + mix(np.array([seed], np.int64).view(np.uint64)))


def cell_hashes(cell: cells.Cells | Lists) -> np.ndarray:
    """A hash of each cell, (n,) uint64."""
    if isinstance(cell, Lists):
        return _list_hashes(cell)
    if cell.words is not None:
        words = np.asarray(cell.words.to_pylist(), object)
        hashes: np.ndarray = pd.util.hash_array(
            words, hash_key=_HASH_KEY, categorize=False
        )
        hashes = hashes[cell.values] if len(words) else np.zeros(0, np.uint64)
    elif cell.values.dtype == np.float64:
        values = np.where(np.isnan(cell.values), np.nan, cell.values + 0.0)
        hashes = mix(values.view(np.uint64))
    else:
        hashes = mix(cell.values.view(np.uint64))
    if cell.missing is not None:
        if len(hashes) == 0:
            hashes = np.zeros(len(cell.missing), np.uint64)
        hashes = np.where(cell.missing, _NULL, hashes)
    return hashes


def _list_hashes(cell: Lists) -> np.ndarray:
    """A hash of each list: of its length, and of each element with its place."""
    total = mix(cell.lengths.view(np.uint64))
    places = mix(cell.places.view(np.uint64))
    starts = np.concatenate([[0], np.cumsum(cell.lengths)])
    for name, array in cell.fields.items():
        base = base_of(array.type, None)
        inner = cells_of(pa.chunked_array([array]), array.type, base)
        salt = pd.util.hash_array(np.array([name], object), hash_key=_HASH_KEY)
        hashes = mix(cell_hashes(inner) ^ places ^ salt)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes)])
        total = mix(total + sums[starts[1:]] - sums[starts[:-1]])
    if cell.missing is not None:
        total = np.where(cell.missing, _NULL, total)
    return total


def by_hash(hashes: np.ndarray, split: SplitConfig) -> np.ndarray:
    """The number in `SPLITS` of each row, (n,) int8; stable when a dataset grows."""
    uniform = (hashes >> np.uint64(11)) * 2.0**-53
    edges = np.cumsum([split.test, split.calibration, split.valid])
    return (3 - np.searchsorted(edges, uniform, side="right")).astype(np.int8)


def by_time(moments: cells.Cells, boundaries: Sequence[int | float]) -> np.ndarray:
    """The number in `SPLITS` of each row, the oldest in train; -1 without a time."""
    codes = np.searchsorted(np.asarray(boundaries), moments.values, side="left")
    codes = codes.astype(np.int8)
    for gone in (moments.missing, moments.off):
        if gone is not None:
            codes[gone] = -1
    if moments.values.dtype == np.float64:
        codes[np.isnan(moments.values)] = -1
    return codes


def boundaries(moments: Points, split: SplitConfig) -> list[int | float]:
    """Last moments of train, valid and calibration.

    Rows of one moment stay together, so each later split takes whole moments from the
    newest backwards until it has its share.
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
                f"data.split: {len(moments.values)} different times are too few for "
                "four splits; take smaller shares or split by hash"
            )
        ends.append(moments.values[last].item())
    return ends[::-1]


def check_text(table: pa.Table) -> dict[str, np.ndarray]:
    """Columns of text that is not valid UTF-8, and in which rows, (n,) bool."""
    faulty: dict[str, np.ndarray] = {}
    for name in table.column_names:
        if cells.family(table.schema.field(name).type) != "text":
            continue
        try:
            table.column(name).validate(full=True)
        except pa.ArrowInvalid:
            words = plain_text(table.column(name)).view(pa.large_binary())
            faulty[name] = np.array([not _is_utf8(v) for v in words.to_pylist()])
    return faulty


def plain_text(column: pa.ChunkedArray) -> pa.Array:
    """A column of text as one array without a dictionary; UTF-8 is not checked."""
    words = cells.flat(column)
    if pa.types.is_dictionary(words.type):
        words = words.dictionary_decode()
    return words.cast(pa.large_string())


def _is_utf8(value: bytes | None) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
