"""Fragments: consecutive rows of one Parquet file, read by one process at a time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.tables import arrow, structs, text_formats
from tasks.data import hive
from tasks.data.files import damage_of
from tasks.data.hive import KeyValues
from tasks.data.row_readers import Selection, reader_at
from tasks.data.source_file import SourceFile

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
"""Type of strings that are read as a dictionary."""


@dataclass(frozen=True)
class Fragment:
    """Consecutive rows of one file: the unit of parallel work.

    Attributes:
        index: Number of the fragment in the dataset.
        path: Path of the file, as `storage.resolve` takes it.
        name: Name of the file relative to the root of the dataset.
        row_groups: Numbers of the row groups, consecutive.
        start: Rows of the first row group that belong to earlier fragments.
        rows: Number of rows.
        first: Number of the fragment's first row in its file.
        partition: Hive keys and values, for columns that the file does not store.
        file: The file as it was when the dataset was opened.
        schema: Arrow schema of the dataset, which rows are converted to.
        missing: Columns of the schema that the file lacks and that are null.
        byte_size: Approximate size of the rows in the file, without compression.
    """

    index: int
    path: str
    name: str
    row_groups: tuple[int, ...]
    start: int
    rows: int
    first: int
    partition: KeyValues
    file: SourceFile = field(repr=False, compare=False)
    schema: pa.Schema = field(repr=False, compare=False)
    missing: frozenset[str] = frozenset()
    byte_size: int = field(default=0, compare=False)

    @property
    def content(self) -> str:
        """Hash of the content of the file."""
        return self.file.content


def divide_files(
    files: Mapping[str, SourceFile],
    footers: Mapping[str, pq.FileMetaData],
    partitions: Mapping[str, KeyValues],
    schema: pa.Schema,
    max_rows: int,
) -> tuple[Fragment, ...]:
    """Divide all rows of a dataset into fragments of at most `max_rows` rows.

    Args:
        files: All files, by relative name.
        footers: Footer of each file, by relative name and in order.
        partitions: Hive keys and values of each file, by relative name.
        schema: Arrow schema of the dataset.
        max_rows: Small row groups are joined and large ones divided accordingly.
    """
    fragments: list[Fragment] = []
    for name, footer in footers.items():
        row_groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        sizes = [group.num_rows for group in row_groups]
        size = sum(group.total_byte_size for group in row_groups)
        file, partition = files[name], partitions[name]
        columns = structs.flat_schema(footer.schema.to_arrow_schema()).names
        stored = {*columns, *dict(partition)}
        missing = frozenset(set(schema.names) - stored)
        for rows in _divide_row_groups(sizes, max_rows):
            place = (len(fragments), file.path, name, *rows, partition)
            bytes_here = size * rows[2] // max(1, footer.num_rows)
            fragments.append(Fragment(*place, file, schema, missing, bytes_here))
    return tuple(fragments)


def _divide_row_groups(
    sizes: Sequence[int], max_rows: int
) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """Yield row groups, start, rows and first row of each fragment of a file."""
    groups: tuple[int, ...] = ()
    rows = first = 0
    for group, size in enumerate(sizes):
        if groups and rows + size > max_rows:
            yield groups, 0, rows, first
            first += rows
            groups, rows = (), 0
        if size > max_rows:
            for start in range(0, size, max_rows):
                taken = min(max_rows, size - start)
                yield (group,), start, taken, first
                first += taken
        elif size:
            groups, rows = (*groups, group), rows + size
    if groups:
        yield groups, 0, rows, first


def read_fragment(
    fragment: Fragment,
    columns: Collection[str] | None = None,
    *,
    dictionaries: bool = False,
) -> pa.Table:
    """Read all rows of a fragment into one table; arguments as for `iter_tables`."""
    most = max(1, fragment.rows)
    tables = iter_tables(fragment, most, columns, dictionaries=dictionaries)
    return pa.concat_tables(tables)


def iter_tables(
    fragment: Fragment,
    rows: int,
    columns: Collection[str] | None = None,
    *,
    dictionaries: bool = False,
) -> Iterator[pa.Table]:
    """Read the rows of a fragment as tables of at most `rows` rows.

    Args:
        fragment: The rows to read.
        rows: Maximum number of rows per table.
        columns: Names of the columns to read, in the schema's order; default: all.
        dictionaries: Return strings as dictionaries, as they mostly are stored, which
            halves the time of encoding them.

    Raises:
        pa.ArrowInvalid: The file is damaged; the message names it.
        ValueError: The file has changed since the dataset was opened, or while it was
            read.
    """
    with fragment.file.unchanged():
        yield from _iter_tables(fragment, rows, columns, dictionaries)


def _iter_tables(
    fragment: Fragment, rows: int, columns: Collection[str] | None, dictionaries: bool
) -> Iterator[pa.Table]:
    """Read the rows of a fragment from a file that is known to be the same."""
    wanted = [f for f in fragment.schema if columns is None or f.name in columns]
    values = dict(fragment.partition)
    absent = values.keys() | fragment.missing
    stored = [f.name for f in wanted if f.name not in absent]
    if dictionaries:
        wanted = [
            f.with_type(DICTIONARY) if f.type == pa.string() else f for f in wanted
        ]
    # The reader itself makes dictionaries of this one type.
    words = [f.name for f in wanted if f.type == DICTIONARY and f.name in stored]
    selection = Selection(
        fragment.path,
        fragment.file.stamp,
        fragment.row_groups,
        tuple(structs.stored_paths(stored, fragment.schema)),
        tuple(words),
        min(rows, fragment.start or rows),
    )
    try:
        with reader_at(selection, fragment.start) as reader:
            for piece in reader.read(fragment.start, fragment.rows):
                flat = structs.flatten(pa.Table.from_batches([piece]))
                yield _complete(flat, wanted, values, fragment.path)
    except (pa.ArrowException, OSError) as error:
        damage = damage_of(error)
        if damage is None:
            raise
        raise pa.ArrowInvalid(f"{fragment.path}: is damaged ({damage})") from error


def _complete(
    batch: pa.Table,
    wanted: Sequence[pa.Field],
    values: Mapping[str, str],
    path: str,
) -> pa.Table:
    """Return the wanted columns of a batch of one chunk, hive columns filled in.

    Columns that the file at `path` lacks are null.
    """
    arrays = []
    for item in wanted:
        if item.name in values:
            value = hive.convert(values[item.name], item.type)
            array = arrow.as_type(pa.repeat(value, batch.num_rows), item.type)
        elif item.name not in batch.schema.names:
            array = structs.absent(item, batch.num_rows)
        else:
            array = batch.column(item.name).chunk(0)
            if array.type != item.type:
                array = _convert(array, item, path)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(wanted))


def _convert(array: pa.Array, item: pa.Field, path: str) -> pa.Array:
    """Return the same values in the type of a field, or nulls for an array of nulls.

    Raises:
        ValueError: The type cannot hold a value; the message names the file.
    """
    if pa.types.is_null(array.type):
        return structs.absent(item, len(array))
    if text_formats.format_of(item) and arrow.family(array.type) == "text":
        return text_formats.as_modelled(array, item)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if arrow.family(array.type) == "real" and arrow.family(item.type) == "integer":
        return arrow.as_type(_whole(array, item, path), item.type)
    try:
        return arrow.as_type(array, item.type)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: column {item.name!r} is {array.type}, and a value does not fit "
            f"into {item.type}, which holds those of the other files ({error}); write "
            "all files with the same type"
        ) from error


def _whole(array: pa.Array, item: pa.Field, path: str) -> pa.Array:
    """Convert floats, of which NaN is null, to the integers of other files.

    Raises:
        ValueError: A value is not an integer.
    """
    cells = arrow.integers(array, item.type)
    off = cells.off
    if off is not None and cells.missing is not None:
        off = off & ~cells.missing
    if off is not None and off.any():
        value = array[int(off.argmax())].as_py()
        raise ValueError(
            f"{path}: column {item.name!r} is {array.type} and holds {value!r}, but "
            f"other files hold it as integers; write all files as {array.type}"
        )
    return arrow.from_integers(cells.values, cells.missing, item.type)


def evenly_spaced(fragments: Sequence[Fragment], most: int) -> list[Fragment]:
    """Return up to `most` fragments, evenly spaced from the first to the last."""
    places = np.linspace(0, len(fragments) - 1, min(most, len(fragments)))
    return [fragments[place] for place in places.round().astype(int).tolist()]
