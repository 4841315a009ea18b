"""A path to Parquet rows: its files, the checks across them, and their fragments."""

import difflib
import fnmatch
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ar_models import cells, lists
from tasks import storage

READERS = 8
"""Footers and hashes that are read at a time."""

TAIL = 1 << 16
"""Bytes at the end of a remote file that stand for its content in a fingerprint."""

MAGIC = b"PAR1"
GLOB = re.compile(r"[*?\[]")
HIVE = re.compile(r"^([^=/]+)=([^/]*)$")
WORDS = pa.dictionary(pa.int32(), pa.string())
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
UNFINISHED = (".tmp", ".crdownload", ".inprogress", "~")

OnBadFile = Literal["stop", "quarantine"]


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be read, and why; `rows` is 0 where nobody can know."""

    name: str
    reason: str
    rows: int = 0


@dataclass(frozen=True)
class Fragment:
    """Consecutive rows of one file: the unit of bulk work.

    Attributes:
        index: Its number in the dataset.
        path: The file, as `storage.resolve` takes it.
        name: The file's name relative to the dataset.
        row_groups: Numbers of the row groups, consecutive.
        start: Rows of the first row group that belong to earlier fragments.
        rows: Number of rows.
        first: Number of the fragment's first row in its file.
        partition: Hive keys and values of the path, for columns not in the file.
        schema: Arrow schema of the dataset, to which rows are brought.
    """

    index: int
    path: str
    name: str
    row_groups: tuple[int, ...]
    start: int
    rows: int
    first: int
    partition: tuple[tuple[str, str], ...]
    schema: pa.Schema = field(repr=False, compare=False)


@dataclass(frozen=True)
class Dataset:
    """Parquet files that hold one table.

    Attributes:
        root: The folder below which relative names count.
        files: Relative names of the readable files, in order.
        fragments: All rows, in order.
        schema: Arrow schema of every row, hive columns included.
        bad_files: Files that were set aside.
    """

    root: str
    files: tuple[str, ...]
    fragments: tuple[Fragment, ...]
    schema: pa.Schema
    bad_files: tuple[BadFile, ...]

    @property
    def rows(self) -> int:
        """Rows in all readable files."""
        return sum(fragment.rows for fragment in self.fragments)

    @cached_property
    def contents(self) -> list[str]:
        """A hash of the content of each file."""
        with ThreadPoolExecutor(READERS) as pool:
            paths = [storage.join(self.root, name) for name in self.files]
            return list(pool.map(_content_hash, paths))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of names and content, the same wherever the dataset stands."""
        digest = hashlib.sha256()
        for name, content in zip(self.files, self.contents, strict=True):
            digest.update(f"{name}\0{content}\n".encode())
        for bad in self.bad_files:
            digest.update(f"{bad.name}\0bad\n".encode())
        return digest.hexdigest()[:16]


def open_dataset(
    path: str,
    *,
    rows_per_fragment: int | Callable[[pa.Schema], int],
    on_bad_file: OnBadFile = "stop",
) -> Dataset:
    """The Parquet rows at `path`, checked across all files by their footers.

    Args:
        path: A file, a folder (with all below it) or a glob whose matches are either;
            local or s3://. Parts `key=value` of the path become columns. Names that
            start with `_` or `.` and unfinished files are left out.
        rows_per_fragment: Row groups are joined to fragments of at most so many rows;
            a larger row group is divided. May depend on the schema.
        on_bad_file: Whether an unreadable file ends this or is set aside.

    Raises:
        FileNotFoundError: Nothing stands there, or no file.
        PermissionError: A file may not be read.
        ValueError: A file is not Parquet or damaged, files contradict each other, or
            there are no rows.
    """
    root, names = find_files(path)
    with ThreadPoolExecutor(READERS) as pool:
        paths = [storage.join(root, name) for name in names]
        found = list(pool.map(_footer_or_fault, paths))
    good: list[tuple[str, pq.FileMetaData]] = []
    bad: list[BadFile] = []
    for name, file, footer in zip(names, paths, found, strict=True):
        if isinstance(footer, pq.FileMetaData):
            good.append((name, footer))
        elif on_bad_file == "quarantine":
            bad.append(BadFile(name, str(footer)))
        elif isinstance(footer, PermissionError):
            raise PermissionError(
                f"{file}: no permission to read it; allow it, or set "
                "data.on_bad_file: quarantine"
            ) from footer
        else:
            raise ValueError(
                f"{file}: {footer}; replace it, or set data.on_bad_file: quarantine"
            )
    if not good:
        raise ValueError(
            f"{path}: none of its {len(bad)} files can be read ({bad[0].name}: "
            f"{bad[0].reason}); replace them"
        )
    keys = {name: _hive_keys(name) for name, _ in good}
    schema, partitions = _common_schema(root, good, keys)
    if callable(rows_per_fragment):
        rows_per_fragment = rows_per_fragment(schema)
    fragments = _fragments(root, good, partitions, schema, rows_per_fragment)
    if not fragments:
        raise ValueError(
            f"{path}: holds no rows in {len(good)} files; give a dataset with rows"
        )
    files = tuple(name for name, _ in good)
    return Dataset(root, files, fragments, schema, tuple(bad))


def find_files(path: str) -> tuple[str, list[str]]:
    """The root of the dataset at `path` and its files' relative names, in order."""
    filesystem, inner = storage.resolve(path)
    inner = inner.rstrip("/")
    prefix = "s3://" if path.startswith("s3://") else ""
    kind = filesystem.get_file_info(inner).type
    if kind == pafs.FileType.NotFound and GLOB.search(path):
        matches = _glob(filesystem, inner)
        base = _before_glob(inner)
        if not matches:
            raise FileNotFoundError(f"{path}: nothing matches; check the pattern")
    elif kind == pafs.FileType.NotFound:
        raise FileNotFoundError(f"{path}: no such file or folder; check data.path")
    else:
        matches = [inner]
        base = inner if kind == pafs.FileType.Directory else inner.rpartition("/")[0]
    files: set[str] = set()
    for match in matches:
        files.update(_files_below(filesystem, match))
    if not files:
        raise FileNotFoundError(
            f"{path}: holds no Parquet file (names that start with _ or . do not "
            "count); check data.path"
        )
    while HIVE.match(base.rpartition("/")[2]):
        base = base.rpartition("/")[0]
    names = sorted((file[len(base) + 1 :] for file in files), key=_natural)
    return prefix + base, names


def _glob(filesystem: pafs.FileSystem, pattern: str) -> list[str]:
    """Files and folders that match, segment by segment; ** goes any depth."""
    found = [_before_glob(pattern)]
    rest = pattern[len(found[0]) :].strip("/").split("/")
    for segment in rest:
        after: list[str] = []
        for folder in found:
            selector = pafs.FileSelector(
                folder, allow_not_found=True, recursive=segment == "**"
            )
            if filesystem.get_file_info(folder).type != pafs.FileType.Directory:
                continue
            inside = filesystem.get_file_info(selector)
            if segment == "**":
                folders = [i for i in inside if i.type == pafs.FileType.Directory]
                after += [folder] + [info.path for info in folders]
            else:
                after += [
                    info.path
                    for info in inside
                    if fnmatch.fnmatchcase(info.base_name, segment)
                    and not _hidden(info.base_name)
                ]
        found = sorted(set(after))
    return found


def _before_glob(pattern: str) -> str:
    """The folder that stands before the first wildcard."""
    segments = pattern.split("/")
    first = next(i for i, segment in enumerate(segments) if GLOB.search(segment))
    return "/".join(segments[:first])


def _files_below(filesystem: pafs.FileSystem, path: str) -> list[str]:
    """The file itself, or all finished files below the folder."""
    if filesystem.get_file_info(path).type == pafs.FileType.File:
        return [path]
    selector = pafs.FileSelector(path, recursive=True)
    return [
        info.path
        for info in filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
        and not any(map(_hidden, info.path[len(path) + 1 :].split("/")))
    ]


def _hidden(name: str) -> bool:
    """Whether a file or folder of this name is no part of a dataset."""
    return name.startswith(("_", ".")) or name.endswith(UNFINISHED)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which month=2 stands before month=10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), p) if p.isdigit() else (0, 0, p) for p in parts]


def _content_hash(path: str) -> str:
    """A hash of a local file's bytes; of a remote one's size, time and last bytes."""
    filesystem, inner = storage.resolve(path)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return storage.checksum(path)
    info = filesystem.get_file_info(inner)
    with filesystem.open_input_file(inner) as file:
        tail = file.read_at(min(TAIL, info.size), max(0, info.size - TAIL))
    stamp = f"{info.size} {info.mtime_ns} ".encode()
    return hashlib.sha256(stamp + tail).hexdigest()


def _footer_or_fault(path: str) -> pq.FileMetaData | str | PermissionError:
    """The footer of a file, or what is wrong with the file."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            problem = _magic_fault(file)
            if problem:
                return problem
            metadata = pq.read_metadata(file)
            metadata.schema.to_arrow_schema()
            return metadata
    except PermissionError as error:
        return error
    except (pa.ArrowException, OSError) as error:
        problem = content_fault(error)
        if problem is None:
            raise
        return f"is damaged ({problem})"


def _magic_fault(file: pa.NativeFile) -> str | None:
    """What the first and last bytes say against a file, or None."""
    size = file.size()
    if size == 0:
        return "is empty (0 bytes), not a Parquet file"
    if file.read_at(4, 0) != MAGIC:
        return "is not a Parquet file"
    if size < 12 or file.read_at(4, size - 4) != MAGIC:
        return "is a truncated Parquet file, its end is missing"
    return None


def content_fault(error: Exception) -> str | None:
    """What is wrong with a file's content, or None if its content is not to blame.

    Arrow reports damaged pages as invalid or as input errors without a number; what
    the operating system or S3 refuses has a number or says so.
    """
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowException):
        if error.errno is not None or "AWS Error" in str(error):
            return None
    return text


def _hive_keys(name: str) -> tuple[tuple[str, str], ...]:
    """Keys and values of the folders in a relative name."""
    matches = (HIVE.match(part) for part in name.split("/")[:-1])
    return tuple((m[1], unquote(m[2])) for m in matches if m)


def _common_schema(
    root: str,
    good: Sequence[tuple[str, pq.FileMetaData]],
    keys: dict[str, tuple[tuple[str, str], ...]],
) -> tuple[pa.Schema, dict[str, tuple[tuple[str, str], ...]]]:
    """The schema that all files share, and each file's hive values for it."""
    fields: dict[str, pa.Field] = {}
    source: dict[str, str] = {}
    schemas = {name: footer.schema.to_arrow_schema() for name, footer in good}
    for name, schema in schemas.items():
        _check_names(storage.join(root, name), schema)
        for item in schema:
            known = fields.get(item.name)
            if known is None or pa.types.is_null(known.type):
                fields[item.name] = item
                source[item.name] = name
            elif not _same(known.type, item.type):
                raise ValueError(
                    f"column {item.name!r} is {known.type} in "
                    f"{storage.join(root, source[item.name])} but {item.type} in "
                    f"{storage.join(root, name)}; write both files with one type"
                )
    for name, schema in schemas.items():
        present = set(schema.names)
        for column in fields:
            if column not in present:
                raise ValueError(
                    f"{storage.join(root, name)}: column {column!r} is missing, which "
                    f"{storage.join(root, source[column])} has; add it, or take one "
                    "of the files away"
                )
    partitions = {
        name: tuple((k, v) for k, v in pairs if k not in fields)
        for name, pairs in keys.items()
    }
    hive = _hive_fields(root, partitions)
    plain = [
        pa.field(column, _without_views(item.type), _nullable(column, schemas))
        for column, item in fields.items()
    ]
    return pa.schema(plain + hive), partitions


def _without_views(type: pa.DataType) -> pa.DataType:
    """Views of strings and bytes as such, since Arrow cannot yet filter views."""
    if pa.types.is_string_view(type):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(type) else type


def _nullable(column: str, schemas: dict[str, pa.Schema]) -> bool:
    """Whether any of the files allows nulls in `column`."""
    return any(schema.field(column).nullable for schema in schemas.values())


def _check_names(path: str, schema: pa.Schema) -> None:
    """Raises ValueError where a name occurs twice in a file."""
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise ValueError(
                f"{path}: column {name!r} occurs more than once; rename one of them"
            )


def _same(a: pa.DataType, b: pa.DataType) -> bool:
    """Whether two files mean the same type, however they encode it."""
    return bool(cells.plain(a) == cells.plain(b) or pa.types.is_null(b))


def _hive_fields(
    root: str, partitions: dict[str, tuple[tuple[str, str], ...]]
) -> list[pa.Field]:
    """Fields of the hive keys: integers where all values are, else strings."""
    first, pairs = next(iter(partitions.items()))
    keys = [key for key, _ in pairs]
    for name, others in partitions.items():
        if [key for key, _ in others] != keys:
            raise ValueError(
                f"{storage.join(root, name)}: its folders give the columns "
                f"{[k for k, _ in others]!r}, those of {storage.join(root, first)} "
                f"give {keys!r}; lay all files out alike"
            )
    fields = []
    for place, key in enumerate(keys):
        values = {pairs[place][1] for pairs in partitions.values()} - {HIVE_NULL}
        whole = all(re.fullmatch(r"-?\d{1,18}", value) for value in values)
        fields.append(pa.field(key, pa.int64() if whole else pa.string()))
    return fields


def _fragments(
    root: str,
    good: Sequence[tuple[str, pq.FileMetaData]],
    partitions: dict[str, tuple[tuple[str, str], ...]],
    schema: pa.Schema,
    most: int,
) -> tuple[Fragment, ...]:
    """All rows in fragments of at most `most` rows."""
    fragments: list[Fragment] = []
    for name, footer in good:
        sizes = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        for groups, start, rows, first in _pieces(sizes, most):
            fragments.append(
                Fragment(
                    len(fragments),
                    storage.join(root, name),
                    name,
                    groups,
                    start,
                    rows,
                    first,
                    partitions[name],
                    schema,
                )
            )
    return tuple(fragments)


def _pieces(
    sizes: Sequence[int], most: int
) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
    """Row groups, start in them, rows and first row of each fragment of a file."""
    groups: tuple[int, ...] = ()
    rows = first = 0
    for group, size in enumerate(sizes):
        if groups and rows + size > most:
            yield groups, 0, rows, first
            first += rows
            groups, rows = (), 0
        if size > most:
            for start in range(0, size, most):
                taken = min(most, size - start)
                yield (group,), start, taken, first
                first += taken
        elif size:
            groups, rows = (*groups, group), rows + size
    if groups:
        yield groups, 0, rows, first


def read(
    fragment: Fragment,
    columns: Collection[str] | None = None,
    *,
    dictionaries: bool = False,
) -> pa.Table:
    """The rows of a fragment, all columns or those named; see `batches`."""
    most = max(1, fragment.rows)
    return pa.concat_tables(batches(fragment, most, columns, dictionaries=dictionaries))


def batches(
    fragment: Fragment,
    rows: int,
    columns: Collection[str] | None = None,
    *,
    dictionaries: bool = False,
) -> Iterator[pa.Table]:
    """The rows of a fragment in tables of at most `rows` rows.

    Args:
        fragment: What to read.
        rows: Rows of a table, at most.
        columns: The columns to read, in the schema's order; all if None.
        dictionaries: Whether strings come as dictionaries, as they mostly are stored;
            that spares half of the time of encoding them.

    Raises:
        pa.ArrowInvalid: The file is damaged; the message names it.
    """
    wanted = [f for f in fragment.schema if columns is None or f.name in columns]
    hive = dict(fragment.partition)
    stored = [f.name for f in wanted if f.name not in hive]
    if dictionaries:
        wanted = [_as_dictionary(f) for f in wanted]
    # The reader itself makes dictionaries of this one type.
    words = [f.name for f in wanted if f.type == WORDS and f.name in stored]
    filesystem, inner = storage.resolve(fragment.path)
    try:
        with pq.ParquetFile(
            filesystem.open_input_file(inner), read_dictionary=words
        ) as file:
            skip, left = fragment.start, fragment.rows
            for batch in file.iter_batches(
                min(rows, skip or rows),
                row_groups=list(fragment.row_groups),
                columns=stored,
                use_threads=False,
            ):
                piece = batch.slice(min(skip, batch.num_rows), left)
                skip -= min(skip, batch.num_rows)
                left -= piece.num_rows
                if piece.num_rows:
                    yield _complete(piece, wanted, hive)
                if left == 0:
                    return
    except (pa.ArrowException, OSError) as error:
        problem = content_fault(error)
        if problem is None:
            raise
        raise pa.ArrowInvalid(f"{fragment.path}: is damaged ({problem})") from error


def _as_dictionary(item: pa.Field) -> pa.Field:
    """The field, as a dictionary if it holds strings."""
    return item.with_type(WORDS) if item.type == pa.string() else item


def _complete(
    batch: pa.RecordBatch, wanted: Sequence[pa.Field], hive: dict[str, str]
) -> pa.Table:
    """`batch` as a table of the `wanted` fields, hive columns filled in."""
    arrays = []
    for item in wanted:
        if item.name in hive:
            text = hive[item.name]
            value = pa.scalar(None if text == HIVE_NULL else text, pa.string())
            array = pa.repeat(value.cast(cells.plain(item.type)), batch.num_rows)
            array = cells.as_type(array, item.type)
        else:
            array = batch.column(item.name)
            if array.type != item.type:
                array = _cast(array, item.type)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(wanted))


def _cast(array: pa.Array, type: pa.DataType) -> pa.Array:
    """`array` in another encoding of the same values, or nulls of that type."""
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return cells.as_type(array, type)


def check_columns(schema: pa.Schema, named: dict[str, Collection[str]]) -> None:
    """Raises ValueError where the configuration names a column that is not there.

    Args:
        schema: The dataset's.
        named: Columns that each configuration key names.
    """
    for key, columns in named.items():
        for column in columns:
            if column not in schema.names:
                near = difflib.get_close_matches(column, schema.names)
                hint = f"did you mean {near[0]!r}?" if near else "it has"
                rest = "" if near else f" {schema.names!r}"
                raise ValueError(
                    f"{key}: the dataset has no column {column!r}; {hint}{rest}"
                )


def check_types(schema: pa.Schema, columns: Collection[str]) -> None:
    """Raises ValueError where one of the columns is nested or of an unknown type."""
    for name in columns:
        type = schema.field(name).type
        if cells.family(type) is None and not lists.is_nested(type):
            raise ValueError(
                f"column {name!r} is {type}, which cannot be modelled; flatten it, or "
                "name it under data.exclude"
            )
