"""From raw Parquet to a prepared dataset: splits, encoder, encoded rows.

Two streaming passes over the fragments, in parallel on Ray: the first sketches the
columns of the training rows, the second writes every row to its split and the encoded
rows of train and valid. Memory holds one fragment per worker. Which split a row goes
to depends on the row alone, so both passes agree.
"""

import base64
import copy
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial, reduce
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models import cells
from ar_models.columns import Column
from ar_models.encoder import FORMAT, Image, LeftOut, TableEncoder
from ar_models.lists import Lists, element_types, is_nested
from tasks import cluster, manifest, profile, splits, storage
from tasks.config import DataConfig, Resources
from tasks.datasets import (
    BadFile,
    Dataset,
    Fragment,
    check_columns,
    check_types,
    open_dataset,
    read,
)
from tasks.profile import Sketch
from tasks.splits import SPLITS

FRAGMENT_CELLS = 1 << 22
"""Cells of a fragment: what one worker holds at a time, some 300 MB in all."""

PREVIEWED = 8
"""Fragments from all over the dataset of which a preview reads some rows."""

USUAL_LENGTH = 256
"""What is taken for the length of lists whose type does not tell."""

ENCODED = ("train", "valid")

FIRST_PASS = ("schema.json", "profile.json", "encoder.json")
"""What the first pass writes, in this order."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """What a worker needs to know to read a fragment and divide its rows.

    Attributes:
        data: The configuration.
        carried: Columns that the split files hold.
        modelled: Those of them that may be modelled.
        bases: As what the values of each modelled column are seen.
        boundaries: Last moments of the splits, for splits by time.
    """

    data: DataConfig
    carried: tuple[str, ...]
    modelled: tuple[str, ...]
    bases: Mapping[str, str]
    boundaries: tuple[int | float, ...] = ()


@dataclass
class Constant:
    """Whether a column holds the same in all rows, and what the first row holds."""

    holds: bool
    first: pa.Array


@dataclass
class Survey:
    """What the first pass knows of some rows.

    Attributes:
        counts: Rows of each split.
        sketches: Of each modelled column's training rows.
        constants: Of each modelled column over all rows.
        quarantined: Rows that belong to no split.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(SPLITS), np.int64))
    sketches: dict[str, Sketch] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    quarantined: int = 0


@dataclass(frozen=True)
class Division:
    """A fragment's rows with their splits.

    Attributes:
        table: The rows, all columns read.
        columns: The modelled columns' cells.
        codes: (n,) number of the split of each row, -1 for quarantine.
        faults: Row numbers in the fragment, with the column and the reason.
    """

    table: pa.Table
    columns: dict[str, cells.Cells | Lists]
    codes: np.ndarray
    faults: list[tuple[int, str, str]]


def prepare(
    data: DataConfig,
    output: str,
    resources: Resources,
    *,
    encoder: TableEncoder | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Makes the prepared dataset of `data` in the folder `output`, or completes it.

    Args:
        data: The dataset and how its columns are to be read.
        output: The folder, local or s3://; `{key}` in it stands for the job key.
        resources: Where to compute.
        encoder: Encodes the rows, in place of one that is made for them; so a model
            that knows it can go on learning.
        overwrite: Whether a folder with another job's output is replaced.

    Returns:
        `path`, `key`, `fingerprint` (of the dataset), `encoder` (its fingerprint),
        `rows` by split, `quarantined` (rows), `bad_files`, `columns` (name to kind),
        `done` (whether there was nothing to do), `seconds` and `rows_per_s`.

    Raises:
        ValueError: Something is wrong with the data or the configuration; the message
            names file, column and remedy.
    """
    started = time.monotonic()
    dataset = open_checked(data)
    if encoder is not None:
        encoder.check(dataset.schema)
    key = job_key(data, dataset, encoder)
    folder = output.replace("{key}", key)
    finished = manifest.claim(folder, key, overwrite=overwrite)
    if finished is None:
        cluster.connect(resources)
        content = _prepare(dataset, data, folder, encoder)
        result = summary(folder, manifest.finish(folder, key, **content))
    else:
        result = summary(folder, finished)
    done = finished is not None
    seconds = time.monotonic() - started
    rate = sum(result["rows"].values()) / seconds
    return {
        **result,
        "done": done,
        "seconds": round(seconds, 3),
        "rows_per_s": round(rate, 1),
    }


def open_checked(data: DataConfig) -> Dataset:
    """The dataset of a configuration, with all columns it names there and readable."""

    def size(schema: pa.Schema) -> int:
        kept = sum(width(f.type) for f in schema if f.name not in data.exclude)
        return max(1, min(500_000, FRAGMENT_CELLS // max(1, kept)))

    dataset = open_dataset(
        data.path, rows_per_fragment=size, on_bad_file=data.on_bad_file
    )
    names = dataset.schema.names
    moment = [data.split.column] if data.split.column else []
    check_columns(
        dataset.schema,
        {
            "data.id": data.id,
            "data.exclude": data.exclude,
            "data.split.column": moment,
        },
    )
    check_columns(with_fields(dataset.schema), {"data.columns": tuple(data.columns)})
    modelled = [n for n in names if n not in {*data.exclude, *data.id}]
    check_types(dataset.schema, modelled + moment)
    for name in modelled:
        override = data.columns.get(name)
        if override and override.kind != "leave_out":
            profile.check_kind(name, dataset.schema.field(name).type, override.kind)
    images_of(data, dataset.schema)
    if not modelled:
        raise ValueError(
            f"{data.path}: all columns are excluded or ids; leave one to be modelled"
        )
    return dataset


def with_fields(schema: pa.Schema) -> pa.Schema:
    """A schema with the fields of lists of structs as COLUMN.FIELD."""
    fields = list(schema)
    for column in schema:
        if is_nested(column.type):
            for name, type in (element_types(column.type) or {}).items():
                fields += [pa.field(f"{column.name}.{name}", type)] if name else []
    return pa.schema(fields)


def width(type: pa.DataType) -> int:
    """About how many cells a row has in a column of a type."""
    count = 1
    while pa.types.is_fixed_size_list(type):
        count, type = count * type.list_size, type.value_type
    return count * USUAL_LENGTH if is_nested(type) else count


def images_of(data: DataConfig, schema: pa.Schema) -> dict[str, list[str]]:
    """The columns that hold the images of each key of `data.images`.

    Raises:
        ValueError: They are neither one column of lists nor as many as there are
            pixels.
    """
    carried = [n for n in schema.names if n not in {*data.exclude, *data.id}]
    found: dict[str, list[str]] = {}
    for pattern, image in data.images.items():
        names = [name for name in carried if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(
                f"data.images: no modelled column is named {pattern!r}; there are "
                f"{carried[:10]!r}"
            )
        listed = [name for name in names if is_nested(schema.field(name).type)]
        if listed and len(names) > 1 or not listed and len(names) != image.size:
            raise ValueError(
                f"data.images.{pattern}: {len(names)} columns are named so; one column "
                f"of lists is needed, or {' x '.join(map(str, image.shape))} = "
                f"{image.size} columns of numbers"
            )
        twice = [n for n in names for others in found.values() if n in others]
        if twice or any(name in data.columns for name in names):
            raise ValueError(
                f"data.images.{pattern}: {(twice or names)[0]!r} is named elsewhere "
                "under data.images or data.columns; name it once"
            )
        found[pattern] = names
    return found


def job_key(
    data: DataConfig, dataset: Dataset, encoder: TableEncoder | None = None
) -> str:
    """The key of a prepared dataset: what it is made from and how."""
    identity = data.model_dump(mode="json", exclude={"path"})
    return manifest.job_key(
        task="prepare",
        dataset=dataset.fingerprint,
        data=identity,
        encoder=encoder.fingerprint if encoder else FORMAT,
        split=splits.FORMAT,
    )


def preview(path: str, rows: int) -> list[dict[str, Any]]:  # JSON-able values
    """What would be inferred of each column from at most so many rows, spread out.

    Returns:
        An entry per column as in profile.json; the kind `exclude` says that the type
        cannot be modelled.
    """
    dataset = open_dataset(path, rows_per_fragment=max(1, rows // PREVIEWED))
    step = max(1, len(dataset.fragments) // PREVIEWED)
    chosen = list(dataset.fragments[::step][:PREVIEWED])
    unknown = [
        f
        for f in dataset.schema
        if cells.family(f.type) is None and not is_nested(f.type)
    ]
    data = DataConfig(path=path, exclude=tuple(field.name for field in unknown))
    plan = _plan(dataset, data)
    surveys = map(partial(survey_fragment, plan), chosen)
    survey, _ = _merge_surveys(chosen, surveys, plan)
    _, entries = _infer(survey, plan, dataset.schema)
    by_name = {entry["name"]: entry for entry in entries} | {
        field.name: {
            "name": field.name,
            "type": str(field.type),
            "kind": "exclude",
            "why": f"{field.type} cannot be modelled; flatten it",
        }
        for field in unknown
    }
    return [by_name[name] for name in dataset.schema.names]


def load_encoder(prepared: str) -> TableEncoder:
    """The encoder of a prepared dataset."""
    return TableEncoder.from_dict(
        storage.read_json(storage.join(prepared, "encoder.json"))
    )


def summary(folder: str, finished: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller wants to know of a finished prepared dataset."""
    return {
        "path": folder,
        "key": finished["job_key"],
        "fingerprint": finished["inputs"]["dataset"],
        "encoder": finished["encoder"],
        "rows": finished["rows"],
        "quarantined": finished["rows_quarantined"],
        "bad_files": finished["bad_files"],
        "columns": finished["columns"],
    }


def _prepare(
    dataset: Dataset, data: DataConfig, folder: str, given: TableEncoder | None
) -> dict[str, Any]:
    """Both passes; the content of the manifest."""
    plan = _plan(dataset, data)
    known = storage.sizes(folder)
    if not all(name in known for name in FIRST_PASS):
        _first_pass(dataset, plan, folder, given)
    encoder = load_encoder(folder)
    profiled = storage.read_json(storage.join(folder, "profile.json"))
    plan = replace(plan, boundaries=tuple(profiled["boundaries"]))
    bad = profiled["bad_files"]
    names = {entry["name"] for entry in bad}
    fragments = [f for f in dataset.fragments if f.name not in names]
    receipts = _second_pass(fragments, plan, encoder, folder)
    rows = {s: sum(r["rows"][s] for r in receipts) for s in SPLITS}
    lost = sum(entry["rows"] for entry in bad)
    contents = dict(zip(dataset.files, dataset.contents, strict=True))
    quarantined = sum(r["quarantined"] for r in receipts) + lost
    return {
        "inputs": {"dataset": dataset.fingerprint},
        "config": data.model_dump(mode="json", exclude={"path"}),
        "encoder": encoder.fingerprint,
        "columns": {c.name: c.kind for c in encoder.columns}
        | {c.name: "left out" for c in encoder.left_out},
        "rows": rows,
        # Nats per row to add to the network's log-probability of encoded rows.
        "log_volume": {
            s: sum(r["log_volume"][s] for r in receipts) / max(rows[s], 1)
            for s in ENCODED
        },
        "rows_in": dataset.rows,
        "rows_out": sum(rows.values()),
        "rows_quarantined": quarantined,
        "bad_files": bad,
        # Of each file of encoded train rows: where they come from.
        "sources": {
            part_name(f): {"name": f.name, "content": contents[f.name][:16]}
            for f in fragments
        },
        "files": [manifest.describe(folder, name, 0) for name in FIRST_PASS]
        + [entry for r in receipts for entry in r["files"]],
    }


def _plan(dataset: Dataset, data: DataConfig) -> Plan:
    """What workers need to know, but for the boundaries of splits by time."""
    carried = tuple(n for n in dataset.schema.names if n not in data.exclude)
    modelled = tuple(n for n in carried if n not in data.id)
    bases = {}
    for name in modelled:
        override = data.columns.get(name)
        kind = override.kind if override else None
        bases[name] = profile.base_of(dataset.schema.field(name).type, kind)
    return Plan(data, carried, modelled, bases)


def _first_pass(
    dataset: Dataset, plan: Plan, folder: str, given: TableEncoder | None
) -> None:
    """Sketches the columns and writes what follows; encoder.json comes last."""
    bad = list(dataset.bad_files)
    if plan.data.split.by == "time":
        plan, bad = _find_boundaries(dataset, plan, bad)
    gone = {b.name for b in bad}
    fragments = [f for f in dataset.fragments if f.name not in gone]
    surveys = cluster.stream(
        partial(survey_fragment, plan),
        fragments,
        what="prepare: rows sketched",
        units=lambda fragment: fragment.rows,
    )
    survey, more = _merge_surveys(fragments, surveys, plan)
    bad += more
    _check_splits(survey, plan.data, dataset.rows)
    encoder, entries = _infer(survey, plan, dataset.schema)
    encoder = given or encoder
    schema = dataset.schema
    storage.write_json(storage.join(folder, "schema.json"), describe_schema(schema))
    listed = [{"name": b.name, "reason": b.reason, "rows": b.rows} for b in bad]
    if listed:
        storage.write_json(storage.join(folder, "quarantine/files.json"), listed)
    storage.write_json(
        storage.join(folder, "profile.json"),
        {
            "rows": dict(zip(SPLITS, survey.counts.tolist(), strict=True)),
            "quarantined": survey.quarantined,
            "boundaries": list(plan.boundaries),
            "bad_files": listed,
            "columns": entries,
        },
    )
    storage.write_json(storage.join(folder, "encoder.json"), encoder.to_dict())


def describe_schema(schema: pa.Schema) -> dict[str, Any]:
    """A schema for people, and exactly for Arrow."""
    return {
        "columns": [
            {"name": f.name, "type": str(f.type), "nullable": f.nullable}
            for f in schema
        ],
        "arrow": base64.b64encode(schema.serialize().to_pybytes()).decode(),
    }


def _find_boundaries(
    dataset: Dataset, plan: Plan, bad: list[BadFile]
) -> tuple[Plan, list[BadFile]]:
    """The moments that divide the splits, from the time column alone."""
    assert plan.data.split.column is not None
    results = cluster.stream(
        partial(sketch_moments, plan),
        dataset.fragments,
        what="prepare: rows dated",
        units=lambda fragment: fragment.rows,
    )
    most = profile.limit(plan.data, 1, "integers")
    total: Sketch | None = None
    for parts, fault in _by_file(dataset.fragments, results):
        if fault is not None:
            bad = [*bad, fault]
            continue
        for part in parts:
            total = part if total is None else profile.merge(total, part, most)
    if total is None or total.low is None:
        raise ValueError(
            f"data.split.column: {plan.data.split.column!r} holds no time; "
            "name another column or split by hash"
        )
    ends = splits.boundaries(profile.points(total), plan.data.split)
    return replace(plan, boundaries=tuple(ends)), bad


def sketch_moments(plan: Plan, fragment: Fragment) -> Sketch | str:
    """The sketch of the time column of all rows of a fragment, or what is wrong."""
    column = plan.data.split.column
    assert column is not None
    try:
        table = read(fragment, [column])
    except pa.ArrowInvalid as error:
        return _fault(plan, error)
    type = fragment.schema.field(column).type
    base = profile.base_of(type, None)
    cell = profile.cells_of(table.column(column), type, base)
    return profile.sketch(cell, type, base, profile.limit(plan.data, 1, base))


def _fault(plan: Plan, error: pa.ArrowInvalid) -> str:
    """The reason for which a file is set aside, unless that is not wanted."""
    if plan.data.on_bad_file == "stop":
        raise ValueError(
            f"{error}; replace it, or set data.on_bad_file: quarantine"
        ) from error
    return str(error).partition(": ")[2]


def _by_file(
    fragments: Iterable[Fragment], results: Iterable[Result | str]
) -> Iterator[tuple[list[Result], BadFile | None]]:
    """Results of the fragments of one file after the other; a fault spoils them all."""
    pairs = zip(fragments, results, strict=True)
    for name, members in groupby(pairs, key=lambda pair: pair[0].name):
        parts, rows, reason = [], 0, None
        for fragment, result in members:
            rows += fragment.rows
            if isinstance(result, str):
                reason = reason or result
            else:
                parts.append(result)
        if reason is None:
            yield parts, None
        else:
            yield [], BadFile(name, reason, rows)


def divide(plan: Plan, fragment: Fragment) -> Division:
    """Reads a fragment and finds the split of every row."""
    split = plan.data.split
    wanted = [*plan.carried, *([split.column] if split.column else [])]
    table = read(fragment, wanted, dictionaries=True)
    faults: list[tuple[int, str, str]] = []
    spoilt = np.zeros(table.num_rows, bool)
    wrong_text = splits.check_text(table)
    for name, wrong in wrong_text.items():
        spoilt |= wrong
        faults += [(int(i), name, "not valid UTF-8") for i in np.flatnonzero(wrong)]
    blank = table
    if spoilt.any():
        for name in wrong_text:
            # Else the dictionary would keep what is not text.
            place = blank.column_names.index(name)
            decoded = splits.plain_text(blank.column(name))
            blank = blank.set_column(place, name, decoded)
        blank = blank.filter(pa.array(~spoilt))
    columns = {
        name: profile.cells_of(
            blank.column(name), fragment.schema.field(name).type, plan.bases[name]
        )
        for name in plan.modelled
    }
    codes = np.full(table.num_rows, -1, np.int8)
    if split.by == "time":
        assert split.column is not None
        type = fragment.schema.field(split.column).type
        base = profile.base_of(type, None)
        moments = profile.cells_of(blank.column(split.column), type, base)
        assert not isinstance(moments, Lists)  # which hold no time
        found = splits.by_time(moments, plan.boundaries)
        rows = np.flatnonzero(~spoilt)[found < 0]
        faults += [(int(i), split.column, "no time to split by") for i in rows]
    else:
        told = columns | splits.id_cells(blank, plan.data.id)
        found = splits.by_hash(splits.row_hashes(told, split.seed), split)
    codes[~spoilt] = found
    return Division(table, columns, codes, sorted(faults))


def survey_fragment(plan: Plan, fragment: Fragment) -> Survey | str:
    """What the first pass learns from a fragment, or what is wrong with its file."""
    try:
        division = divide(plan, fragment)
    except pa.ArrowInvalid as error:
        return _fault(plan, error)
    codes = division.codes
    readable = ~_unreadable(division)
    train = codes[readable] == 0
    survey = Survey(
        np.bincount(codes[codes >= 0], minlength=len(SPLITS)),
        quarantined=int((codes < 0).sum()),
    )
    for name, cell in division.columns.items():
        type, base = fragment.schema.field(name).type, plan.bases[name]
        most = profile.limit(plan.data, len(plan.modelled), base)
        survey.sketches[name] = profile.sketch(select(cell, train), type, base, most)
        first = division.table.column(name).filter(pa.array(readable)).slice(0, 1)
        if len(first):
            survey.constants[name] = Constant(is_constant(cell), first.combine_chunks())
    return survey


def _unreadable(division: Division) -> np.ndarray:
    """(n,) true where a row's text cannot be read; such rows have no cells."""
    mask = np.zeros(division.table.num_rows, bool)
    mask[[row for row, _, reason in division.faults if "UTF-8" in reason]] = True
    return mask


def select(cell: cells.Cells | Lists, rows: np.ndarray) -> cells.Cells | Lists:
    """The cells where `rows` (n,) is true."""
    if isinstance(cell, Lists):
        return cell.select(rows)
    return cells.Cells(
        cell.values[rows],
        None if cell.missing is None else cell.missing[rows],
        None if cell.off is None else cell.off[rows],
        cell.words,
    )


def is_constant(cell: cells.Cells | Lists) -> bool:
    """Whether all cells hold the same, null included."""
    if isinstance(cell, Lists):
        if cell.missing is not None:
            return bool(cell.missing.all())
        hashes = splits.cell_hashes(cell)
        return bool((hashes == hashes[:1]).all())
    if cell.off is not None:
        return False
    if cell.missing is not None:
        return bool(cell.missing.all())
    values = cell.values
    if values.dtype == np.float64 and len(values) and np.isnan(values[0]):
        return bool(np.isnan(values).all())
    return bool((values[:1000] == values[:1]).all() and (values == values[:1]).all())


def _merge_surveys(
    fragments: list[Fragment], surveys: Iterable[Survey | str], plan: Plan
) -> tuple[Survey, list[BadFile]]:
    """The survey of all rows in readable files, and the other files."""
    total, bad = Survey(), []
    for parts, fault in _by_file(fragments, surveys):
        if fault is not None:
            bad.append(fault)
        for part in parts:
            _add_survey(total, part, plan)
    return total, bad


def _add_survey(total: Survey, part: Survey, plan: Plan) -> None:
    """Merges `part` into `total`."""
    total.counts = total.counts + part.counts
    total.quarantined += part.quarantined
    for name, sketch in part.sketches.items():
        if name in total.sketches:
            most = profile.limit(plan.data, len(plan.modelled), sketch.base)
            sketch = profile.merge(total.sketches[name], sketch, most)
        total.sketches[name] = sketch
    for name, other in part.constants.items():
        known = total.constants.setdefault(name, other)
        known.holds = known.holds and other.holds and _equal(known.first, other.first)


def _equal(a: pa.Array, b: pa.Array) -> bool:
    """Whether two one-row arrays hold the same value, NaN being like NaN."""
    return repr(a.to_pylist()) == repr(b.to_pylist())


def _check_splits(survey: Survey, data: DataConfig, rows: int) -> None:
    """Raises ValueError where a split got no row."""
    empty = [s for s, n in zip(SPLITS, survey.counts.tolist(), strict=True) if n == 0]
    if not empty:
        return
    split = data.split
    least = min(
        split.valid,
        split.calibration,
        split.test,
        1 - split.valid - split.calibration - split.test,
    )
    advice = (
        f"about {int(np.ceil(5 / least))} rows are needed"
        if least > 0
        else "every split needs a share above 0"
    )
    raise ValueError(
        f"{data.path}: {rows} rows leave the split {', '.join(empty)} empty; with the "
        f"shares of data.split {advice}"
    )


def _infer(
    survey: Survey, plan: Plan, schema: pa.Schema
) -> tuple[TableEncoder, list[dict[str, Any]]]:
    """The encoder, and what profile.json says of each column."""
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    entries = []
    images = images_of(plan.data, schema)
    pixels = _pixels(survey, plan, schema, images)
    for name in plan.modelled:
        type, override = schema.field(name).type, plan.data.columns.get(name)
        part, fixed = survey.sketches[name], survey.constants[name]
        outcome: Column | LeftOut | None = None
        if name in pixels:
            outcome = pixels[name]
        elif fixed.holds:
            kind = override.kind if override else None
            outcome = profile.constant_column(name, fixed.first, kind)
        if outcome is None:
            outcome = profile.infer(name, type, part, plan.data)
        if isinstance(outcome, Column):
            columns.append(outcome)
        else:
            left_out.append(outcome)
        entries.append(profile.describe(part, outcome, type))
    trained = pa.schema([schema.field(name) for name in plan.modelled])
    shapes = tuple(
        Image(tuple(names), plan.data.images[pattern].shape)
        for pattern, names in images.items()
    )
    return TableEncoder(tuple(columns), tuple(left_out), trained, shapes), entries


def _pixels(
    survey: Survey, plan: Plan, schema: pa.Schema, images: Mapping[str, list[str]]
) -> dict[str, Column]:
    """The columns that are the pixels of images, all those of an image alike."""
    found: dict[str, Column] = {}
    for pattern, names in images.items():
        types = [schema.field(name).type for name in names]
        if is_nested(types[0]):
            continue
        key = f"data.images.{pattern}"
        if len(set(types)) > 1 or cells.family(types[0]) not in cells.NUMBERS:
            raise ValueError(
                f"{key}: pixels must be numbers of one type, {names[0]!r} is {types[0]}"
                f" and {names[-1]!r} is {types[-1]}"
            )
        base = plan.bases[names[0]]
        most = profile.limit(plan.data, len(plan.modelled), base)
        sketches = [copy.copy(survey.sketches[name]) for name in names]
        whole = reduce(partial(profile.merge, most=most), sketches)
        one = profile.pixel("", types[0], whole, plan.data.images[pattern], key)
        for name in names:
            variables = tuple(replace(v, name=f"{name}{v.name}") for v in one.variables)
            rows = survey.sketches[name].rows
            found[name] = replace(one, name=name, variables=variables, rows=rows)
    return found


def _second_pass(
    fragments: list[Fragment], plan: Plan, encoder: TableEncoder, folder: str
) -> list[dict[str, Any]]:
    """Writes every fragment that is not yet written; the receipts of all."""
    sizes = storage.sizes(folder)
    receipts = {
        f.index: storage.read_json(storage.join(folder, receipt_name(f)))
        for f in fragments
        if receipt_name(f) in sizes
    }
    receipts = {
        index: receipt
        for index, receipt in receipts.items()
        if all(sizes.get(e["path"]) == e["bytes"] for e in receipt["files"])
    }
    todo = [f for f in fragments if f.index not in receipts]
    written = cluster.stream(
        partial(write_fragment, plan, encoder, folder),
        todo,
        what="prepare: rows encoded",
        units=lambda fragment: fragment.rows,
        done=sum(f.rows for f in fragments) - sum(f.rows for f in todo),
    )
    for fragment, receipt in zip(todo, written, strict=True):
        receipts[fragment.index] = receipt
    return [receipts[f.index] for f in fragments]


def receipt_name(fragment: Fragment) -> str:
    """The file that says that all files of a fragment are written."""
    return f"_parts/{part_name(fragment)}.json"


def part_name(fragment: Fragment) -> str:
    """What the files of a fragment are called."""
    return f"part-{fragment.index:05d}"


def write_fragment(
    plan: Plan, encoder: TableEncoder, folder: str, fragment: Fragment
) -> dict[str, Any]:
    """Writes a fragment's rows to their splits and the encoded rows, then a receipt.

    Returns:
        The receipt: rows by split, log-volumes, rows quarantined, and the files.
    """
    division = divide(plan, fragment)
    name = part_name(fragment)
    files, rows, log_volume = [], {}, dict.fromkeys(ENCODED, 0.0)
    table = division.table.select(list(plan.carried))
    schema = pa.schema([fragment.schema.field(name) for name in plan.carried])
    for code, split in enumerate(SPLITS):
        chosen = table.filter(pa.array(division.codes == code))
        rows[split] = chosen.num_rows
        if not chosen.num_rows:
            continue
        path = f"{split}/{name}.parquet"
        with storage.publish(storage.join(folder, path)) as unfinished:
            pq.write_table(chosen.cast(schema), unfinished, compression="zstd")
        files.append(manifest.describe(folder, path, chosen.num_rows))
        if split in ENCODED:
            path = f"encoded/{split}/{name}.arrow"
            encoded = encoder.encode(chosen)
            write_encoded(storage.join(folder, path), encoded.x)
            log_volume[split] = float(encoded.log_volume.sum())
            files.append(manifest.describe(folder, path, chosen.num_rows))
    quarantined = int((division.codes < 0).sum())
    if quarantined:
        path = f"quarantine/{name}.parquet"
        _write_quarantine(storage.join(folder, path), division, fragment)
        files.append(manifest.describe(folder, path, quarantined))
    receipt = {
        "rows": rows,
        "log_volume": log_volume,
        "quarantined": quarantined,
        "files": files,
    }
    storage.write_json(storage.join(folder, receipt_name(fragment)), receipt)
    return receipt


def write_encoded(path: str, x: np.ndarray) -> None:
    """Publishes `x` (n, dim) float32 as one uncompressed Arrow batch."""
    values = pa.array(np.ascontiguousarray(x).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(values, x.shape[1])
    batch = pa.record_batch([column], names=["x"])
    with (
        storage.publish(path) as unfinished,
        pa.OSFile(str(unfinished), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _write_quarantine(path: str, division: Division, fragment: Fragment) -> None:
    """Publishes where the rows without a split stand, and why they have none."""
    reasons: dict[int, str] = {}
    for row, column, reason in division.faults:
        text = f"column {column!r}: {reason}"
        reasons[row] = f"{reasons[row]}; {text}" if row in reasons else text
    listing = pa.table(
        {
            "file": pa.array([fragment.name] * len(reasons), pa.string()),
            "row": pa.array([fragment.first + row for row in reasons], pa.int64()),
            "reason": pa.array(list(reasons.values()), pa.string()),
        }
    )
    with storage.publish(path) as unfinished:
        pq.write_table(listing, unfinished, compression="zstd")
