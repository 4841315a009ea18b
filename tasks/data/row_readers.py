"""Readers of consecutive row groups, kept open for the next fragment of a row group.

Parquet cannot be read from the middle of a row group: whoever wants its last rows
decodes all rows before them. Where a row group is divided into many fragments, a
process therefore goes on where its previous fragment ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.runtime import storage
from tasks.runtime.storage import Stamp


@dataclass(frozen=True)
class Selection:
    """What is read of a file, and in batches of which size.

    Attributes:
        path: Path of the file, as `storage.resolve` takes it.
        stamp: What the storage says about this version of the file.
        row_groups: Numbers of the row groups, consecutive.
        columns: Names of the columns.
        dictionaries: Names of those that are read as dictionaries.
        batch_rows: Maximum number of rows of a batch.
    """

    path: str
    stamp: Stamp
    row_groups: tuple[int, ...]
    columns: tuple[str, ...]
    dictionaries: tuple[str, ...]
    batch_rows: int


class RowReader:
    """Reads the rows of some row groups forwards.

    Attributes:
        position: Number of rows that were read or skipped.
        rows: Number of rows of the row groups.
    """

    def __init__(self, selection: Selection) -> None:
        filesystem, inner = storage.resolve(selection.path)
        self._file = pq.ParquetFile(
            filesystem.open_input_file(inner),
            read_dictionary=list(selection.dictionaries),
            page_checksum_verification=True,
        )
        groups = list(selection.row_groups)
        self.position = 0
        self.rows = sum(self._file.metadata.row_group(i).num_rows for i in groups)
        self._batches = self._file.iter_batches(
            selection.batch_rows,
            row_groups=groups,
            columns=list(selection.columns),
            use_threads=False,
        )
        self._batch: pa.RecordBatch | None = None
        self._offset = 0

    def read(self, start: int, count: int) -> Iterator[pa.RecordBatch]:
        """Yield `count` rows from a row on that lies at or behind the position.

        The batches are the same wherever the position was.

        Args:
            start: Number of the first row, from the first row group's first row.
            count: Number of rows.
        """
        end = start + count
        while self.position < end:
            if self._batch is None:
                self._batch = next(self._batches, None)
                if self._batch is None:
                    return
            rest = self._batch.slice(self._offset)
            if self.position < start:
                self._advance(min(start - self.position, rest.num_rows))
                continue
            piece = rest.slice(0, end - self.position)
            self._advance(piece.num_rows)
            if piece.num_rows:
                yield piece

    def _advance(self, rows: int) -> None:
        self.position += rows
        self._offset += rows
        if self._batch is not None and self._offset >= self._batch.num_rows:
            self._batch, self._offset = None, 0

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)


KEPT: dict[Selection, RowReader] = {}
"""The reader of this process that is kept for the rest of its row groups, if any."""


@contextmanager
def reader_at(selection: Selection, start: int) -> Iterator[RowReader]:
    """Yield a reader that has not passed a row, and keep it if rows are left after it.

    Threads may call this at the same time: a kept reader is given to one of them.

    Args:
        selection: What is read.
        start: Number of the first row that is wanted.
    """
    reader = KEPT.pop(selection, None)
    if reader is None or reader.position > start:
        if reader is not None:
            reader.close()
        reader = RowReader(selection)
    try:
        yield reader
    except BaseException:
        reader.close()
        raise
    for other in list(KEPT):
        if forgotten := KEPT.pop(other, None):
            forgotten.close()
    if start <= reader.position < reader.rows:
        KEPT[selection] = reader
    else:
        reader.close()
