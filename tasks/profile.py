"""What a column is: mergeable sketches of it, and the kind inferred from them.

A sketch counts every distinct value exactly as long as there are few. Beyond that it
keeps a t-digest of the quantiles (which, unlike most quantile sketches, draws nothing
at random, so that a rerun gives the same encoder), a frequent-items sketch, and a
sample of distinct values with their counts.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import (
    PyDoublesSerDe,
    PyLongsSerDe,
    frequent_items_error_type,
    frequent_items_sketch,
    tdigest_double,
)

from ar_models import cells, lists
from ar_models.columns import (
    REGULAR,
    SPECIALS,
    CodeColumn,
    Column,
    Kind,
    NumberColumn,
    RealColumn,
    bounds,
)
from ar_models.encoder import LeftOut, constant
from ar_models.lists import ListColumn, Lists, element_types, variables_of
from ar_models.variables import MAX_INTEGER, Variable
from tasks.config import DataConfig, ImageConfig

EXACT_CELLS = 1 << 22
"""Distinct values that are counted exactly, over all columns together; the driver
merges so many for every fragment."""

DIGEST = 500
"""Centroids of a t-digest; ranks are then right to about 0.1 %."""

FREQUENT = 12
"""Log2 of the frequent-items sketch's size: shares above 0.1 % are surely found."""

HELD_SHARE = 0.01
"""Values with a larger share of a fragment are counted, not put into the digest."""

SELDOM_SHARE = 1e-4
"""Values with a smaller share of a fragment are no candidates for frequent items."""

SAMPLE = 8192
"""Distinct values that stand for all in the statistics of lower digits."""

ATOMS = 64
FEW = 256
"""Distinct integers up to which all that repeat are atoms."""

REPEATED = 5
"""Rows in which such an integer must occur."""

REAL_ATOMS = 16
STANDS_OUT = 5
"""How much more often than the values beside it an atom of a real column occurs, …"""

BESIDE = 4
"""… of so many to either side."""

REAL_CODES = 32
RARE_KEPT = 1000
KNOTS = 32
GREATEST = 1e290
"""Knots lie within this, so that no slope overflows."""

SYMBOLS = 1000
"""Characters of a text, or bytes, are codes if there are so many at most."""

UNIQUE_ROWS = 100
ID_NAME = re.compile(r"(?i:(^|[^a-z])(id|uuid|guid|pid|key)$)|[a-z](Id|ID|Key)$")


TOP = 50
"""Words of a column that profile.json names, the most frequent ones."""

SHARES = 64
"""Shares of rows at which profile.json tells a number column's distribution."""


@dataclass
class Sketch:
    """One column over a set of rows.

    Attributes:
        base: As what its values are seen: words, integers, reals or lists.
        rows: Number of rows.
        missing: Nulls among them.
        specials: Counts of NaN, +inf and -inf.
        off: Values that do not fit 64 bits.
        low: Least finite value, None if there is none.
        high: Greatest.
        whole: Whether all finite values are whole numbers of at most 2**53.
        divisor: Greatest common divisor of all integers.
        repeats: Whether a value was seen twice.
        values: Distinct values (Arrow), None once they are too many.
        counts: How often each of those occurs.
        digest: Serialised t-digest of what is not held.
        frequent: Serialised frequent items.
        held: Values too frequent for the digest, and their counts.
        sample: Values of the least hashes, and their counts.
        lengths: Of lists, how long they are.
        fields: Of lists, what their elements are, by field; "" if they are no structs.
    """

    base: str
    rows: int = 0
    missing: int = 0
    specials: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(SPECIALS[1:], 0)
    )
    off: int = 0
    low: Any = None  # int or float
    high: Any = None  # int or float
    whole: bool = True
    divisor: int = 0
    repeats: bool = False
    values: pa.Array | None = None
    counts: np.ndarray | None = None
    digest: bytes | None = None
    frequent: bytes | None = None
    held: dict[Any, int] = field(default_factory=dict)
    sample: tuple[np.ndarray, np.ndarray] | None = None
    lengths: "Sketch | None" = None
    fields: dict[str, "Sketch"] = field(default_factory=dict)

    @property
    def regular(self) -> int:
        """Number of cells that are neither null nor NaN nor infinite."""
        return self.rows - self.missing - sum(self.specials.values()) - self.off

    @property
    def exact(self) -> bool:
        """Whether every distinct value was counted."""
        return self.values is not None


def base_of(type: pa.DataType, kind: str | None) -> str:
    """As what the values of a type are seen: words, integers, reals or lists."""
    family = cells.family(type)
    if family is None or kind == "sequence":
        return "lists"
    if family in ("text", "bytes"):
        return "words"
    if family == "real" or (kind == "real" and family in cells.NUMBERS):
        return "reals"
    return "integers"


def limit(data: DataConfig, columns: int, base: str) -> int:
    """Distinct values up to which a column is counted exactly."""
    share = min(max(EXACT_CELLS // max(1, columns), 2048), 1 << 14)
    return max(share, data.max_categories) if base == "words" else share


def cells_of(
    array: pa.ChunkedArray, type: pa.DataType, base: str
) -> cells.Cells | Lists:
    """A column as the sketches see it."""
    if base == "lists":
        return lists.lists(array)
    if base == "words":
        return cells.words(array)
    return cells.reals(array) if base == "reals" else cells.integers(array, type)


def sketch(
    cell: cells.Cells | Lists, type: pa.DataType, base: str, most: int
) -> Sketch:
    """The sketch of one column of some rows, exact up to `most` distinct values."""
    if isinstance(cell, Lists):
        return _sketch_lists(cell, type, most)
    result = Sketch(base, rows=len(cell.values))
    if base == "words":
        assert cell.words is not None
        counts = np.bincount(_kept(cell, cell.values), minlength=len(cell.words))
        seen = np.flatnonzero(counts)
        result.missing = result.rows - int(counts.sum())
        result.values, result.counts = _add_counts(
            [cell.words.take(pa.array(seen))], [counts[seen]], cell.words.type
        )
        result.repeats = bool((result.counts > 1).any())
    else:
        _sketch_numbers(result, cell, type)
    assert result.values is not None
    if len(result.values) > most:
        _approximate(result)
    return result


def _sketch_lists(cell: Lists, type: pa.DataType, most: int) -> Sketch:
    """The sketch of a column of lists: of their lengths, and of their elements."""
    result = Sketch("lists", rows=len(cell.lengths))
    present = cell.lengths
    if cell.missing is not None:
        result.missing = int(cell.missing.sum())
        present = present[~cell.missing]
    lengths = cells.Cells(present)
    result.lengths = sketch(lengths, pa.int64(), "integers", 1 << 14)
    types = element_types(type)
    assert types is not None
    for name, array in cell.fields.items():
        of = types[name]
        base = base_of(of, None)
        inner = cells_of(pa.chunked_array([array]), of, base)
        result.fields[name] = sketch(inner, of, base, most)
    return result


def _sketch_numbers(result: Sketch, cell: cells.Cells, type: pa.DataType) -> None:
    """Counts the numbers of `cell` into the empty sketch `result`."""
    if result.base == "reals":
        values = _finite(result, cell)
    else:
        result.missing = 0 if cell.missing is None else int(cell.missing.sum())
        values = _kept(cell, cell.values)
        result.off = result.rows - result.missing - len(values)
    ranked = np.sort(values)  # many times faster than hashing
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)])
    result.values = pa.array(ranked[starts])
    result.counts = np.diff(np.r_[starts, len(ranked)])
    result.repeats = len(starts) < len(ranked)
    if len(values) == 0:
        return
    result.low, result.high = ranked[0].item(), ranked[-1].item()
    if cells.family(type) in ("time", "timestamp"):
        result.divisor = int(np.gcd.reduce(values))
    if result.base == "reals":
        whole = (values == np.floor(values)).all()
        result.whole = bool(whole and max(abs(result.low), abs(result.high)) <= 2.0**53)


def _kept(cell: cells.Cells, values: np.ndarray) -> np.ndarray:
    """`values` where the cell is neither missing nor off."""
    gone = cell.missing
    if cell.off is not None:
        gone = cell.off if gone is None else gone | cell.off
    return values if gone is None else values[~gone]


def _finite(result: Sketch, cell: cells.Cells) -> np.ndarray:
    """Counts what is special among reals and returns the others."""
    values = _kept(cell, cell.values)
    result.missing = len(cell.values) - len(values)
    finite = np.isfinite(values)
    if not finite.all():
        special = values[~finite]
        result.specials = {
            "nan": int(np.isnan(special).sum()),
            "+inf": int((special == np.inf).sum()),
            "-inf": int((special == -np.inf).sum()),
        }
        values = values[finite]
    return values + 0.0  # so that -0.0 is 0.0


def _add_counts(
    values: Sequence[pa.Array], counts: Sequence[np.ndarray], type: pa.DataType
) -> tuple[pa.Array, np.ndarray]:
    """Distinct values and the sums of their counts."""
    table = pa.table(
        {
            "value": pa.concat_arrays([v.cast(type) for v in values]),
            "count": pa.array(np.concatenate(counts).astype(np.int64)),
        }
    )
    summed = table.group_by("value", use_threads=False).aggregate([("count", "sum")])
    summed = summed.combine_chunks()
    return (
        cells.flat(summed.column("value")),
        summed.column("count_sum").to_numpy(),
    )


def _serde(base: str) -> Any:  # a datasketches serialiser, untyped
    return PyLongsSerDe() if base == "integers" else PyDoublesSerDe()


def _approximate(part: Sketch) -> None:
    """Turns exact counts into sketches, in place."""
    values, counts = part.values, part.counts
    part.values = part.counts = None
    if part.base == "words":
        return
    assert values is not None and counts is not None
    known = values.to_numpy(zero_copy_only=False)
    held = counts > HELD_SHARE * counts.sum()
    part.held = dict(zip(known[held].tolist(), counts[held].tolist(), strict=True))
    digest = tdigest_double(DIGEST)
    loose, weights = known[~held].astype(np.float64), counts[~held]
    for begin in range(0, len(loose), 1 << 14):
        end = begin + (1 << 14)
        digest.update(np.repeat(loose[begin:end], weights[begin:end]))
    part.digest = digest.serialize()
    items = frequent_items_sketch(FREQUENT)
    often = counts > SELDOM_SHARE * counts.sum()
    for value, count in zip(known[often].tolist(), counts[often].tolist(), strict=True):
        items.update(value, count)
    part.frequent = items.serialize(_serde(part.base))
    part.sample = _least_hashes(known, counts)


def _least_hashes(
    values: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The `SAMPLE` values of least hashes with their counts, ascending by hash."""
    hashes = mix(values.view(np.uint64))
    kept = np.arange(len(hashes))
    if len(hashes) > SAMPLE:
        kept = np.argpartition(hashes, SAMPLE)[:SAMPLE]
    kept = kept[np.argsort(hashes[kept])]
    return values[kept], counts[kept]


def mix(bits: np.ndarray) -> np.ndarray:
    """A well-mixed 64-bit hash of 64-bit words (the finaliser of splitmix64)."""
    z = bits + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = z ^ (z >> np.uint64(31))
    return mixed


def merge(a: Sketch, b: Sketch, most: int) -> Sketch:
    """The sketch of the rows of both; what `a` and `b` hold may be used up."""
    if a.base == "lists":
        return _merge_lists(a, b, most)
    ends = [s for s in (a, b) if s.low is not None]
    result = Sketch(
        a.base,
        rows=a.rows + b.rows,
        missing=a.missing + b.missing,
        specials={k: a.specials[k] + b.specials[k] for k in a.specials},
        off=a.off + b.off,
        low=min((s.low for s in ends), default=None),
        high=max((s.high for s in ends), default=None),
        whole=a.whole and b.whole,
        divisor=math.gcd(a.divisor, b.divisor),
        repeats=a.repeats or b.repeats,
    )
    if a.exact and b.exact:
        assert a.values is not None and b.values is not None
        assert a.counts is not None and b.counts is not None
        type = a.values.type if len(a.values) else b.values.type
        result.values, result.counts = _add_counts(
            [a.values, b.values], [a.counts, b.counts], type
        )
        if len(result.values) < len(a.values) + len(b.values):
            result.repeats = True
        if len(result.values) > most:
            _approximate(result)
        return result
    for part in (a, b):
        if part.exact:
            _approximate(part)
    if result.base != "words":
        _merge_sketches(result, a, b)
    return result


def _merge_lists(a: Sketch, b: Sketch, most: int) -> Sketch:
    """`merge` of two columns of lists."""
    assert a.lengths is not None and b.lengths is not None
    return Sketch(
        "lists",
        rows=a.rows + b.rows,
        missing=a.missing + b.missing,
        lengths=merge(a.lengths, b.lengths, most),
        fields={
            name: merge(a.fields[name], b.fields[name], most)
            if name in a.fields and name in b.fields
            else (a.fields | b.fields)[name]
            for name in a.fields | b.fields
        },
    )


def _merge_sketches(result: Sketch, a: Sketch, b: Sketch) -> None:
    """The approximate parts of `a` and `b` into `result`."""
    digest = tdigest_double.deserialize(a.digest)
    digest.merge(tdigest_double.deserialize(b.digest))
    result.digest = digest.serialize()
    serde = _serde(result.base)
    items = frequent_items_sketch.deserialize(a.frequent, serde)
    items.merge(frequent_items_sketch.deserialize(b.frequent, serde))
    result.frequent = items.serialize(serde)
    result.held = {v: a.held.get(v, 0) + b.held.get(v, 0) for v in [*a.held, *b.held]}
    assert a.sample is not None and b.sample is not None
    values, inverse = np.unique(
        np.concatenate([a.sample[0], b.sample[0]]), return_inverse=True
    )
    counts = np.bincount(inverse, np.concatenate([a.sample[1], b.sample[1]]))
    result.sample = _least_hashes(values, counts.astype(np.int64))
    # A value that two fragments hold once each shows here only.
    result.repeats = result.repeats or bool((result.sample[1] > 1).any())


def distinct(part: Sketch) -> int | None:
    """Number of distinct regular values; estimated for many numbers, None for words."""
    if part.values is not None:
        return len(part.values)
    if part.sample is None:
        return None
    hashes = mix(part.sample[0].view(np.uint64))
    return round((len(hashes) - 1) / (int(hashes[-1]) / 2.0**64))


@dataclass(frozen=True)
class Points:
    """Values of a column in ascending order, with the number of rows at each."""

    values: np.ndarray
    counts: np.ndarray

    def quantile(self, share: float) -> Any:  # int or float
        """The least value that at least this share of rows does not exceed."""
        total = np.cumsum(self.counts)
        place = np.searchsorted(total, share * total[-1])
        return self.values[min(place, len(self.values) - 1)].item()


def points(part: Sketch, without: Sequence[float] = ()) -> Points:
    """The distribution of a number column, all or `without` some values."""
    if part.values is not None:
        values = part.values.to_numpy(zero_copy_only=False)
        counts = np.asarray(part.counts, np.float64)
    else:
        digest = tdigest_double.deserialize(part.digest)
        values, counts = np.empty(0), np.empty(0)
        if not digest.is_empty():
            edges = _ranks(digest.get_total_weight())
            middle = (edges[1:] + edges[:-1]) / 2
            values = np.array([digest.get_quantile(float(r)) for r in middle])
            counts = np.diff(edges) * digest.get_total_weight()
        values = np.concatenate([values, np.array(list(part.held), float)])
        counts = np.concatenate([counts, np.array(list(part.held.values()), float)])
        if part.base == "integers":
            values = np.clip(np.rint(values), -(2.0**62), 2.0**62).astype(np.int64)
            values = np.clip(values, part.low, part.high)
    return _points(values, counts, without)


def _points(
    values: np.ndarray, counts: np.ndarray, without: Sequence[float] = ()
) -> Points:
    kept = ~np.isin(values, np.asarray(without)) if len(without) else slice(None)
    unique, inverse = np.unique(values[kept], return_inverse=True)
    return Points(unique, np.bincount(inverse, counts[kept], minlength=len(unique)))


def _ranks(total: float) -> np.ndarray:
    """Edges of ranks at which a digest is read: even, and finer towards the ends."""
    fine = 2.0 ** -np.arange(math.ceil(math.log2(max(4096.0, total))), 11, -1)
    even = np.arange(1, 2048) / 2048
    return np.unique(np.concatenate([[0.0], fine, even, 1 - fine, [1.0]]))


def frequent_values(part: Sketch, share: float, most: int) -> dict[Any, int]:
    """Values with more than a share of the regular rows, the most frequent first."""
    least = share * part.regular
    if part.values is not None:
        counts = np.asarray(part.counts)
        values = part.values.to_numpy(zero_copy_only=False)
        kept = counts > least
        pairs = list(zip(values[kept].tolist(), counts[kept].tolist(), strict=True))
    else:
        items = frequent_items_sketch.deserialize(part.frequent, _serde(part.base))
        found = items.get_frequent_items(
            frequent_items_error_type.NO_FALSE_NEGATIVES, max(1, int(least))
        )
        pairs = [(item[0], item[1]) for item in found]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    return dict(pairs[:most])


def infer(
    name: str,
    type: pa.DataType,
    part: Sketch,
    data: DataConfig,
) -> Column | LeftOut:
    """The column that a sketch of the training rows speaks for, or why there is none.

    Raises:
        ValueError: The configured kind does not fit the values.
    """
    override = data.columns.get(name)
    kind = override.kind if override else None
    if kind == "leave_out":
        return LeftOut(name, str(type), "left out by the configuration")
    check_kind(name, type, kind)
    if part.base == "lists":
        return _list(name, type, part, data)
    if part.base == "words":
        return _infer_words(name, type, part, data, kind)
    if part.off:
        return LeftOut(name, str(type), f"{part.off} values do not fit 64 bits")
    family = cells.family(type)
    few = part.exact and (distinct(part) or 0) <= 2 and family not in cells.MOMENTS
    plain_few = few and family != "time" and not sum(part.specials.values())
    if kind in ("binary", "categorical") or (kind is None and family == "bool"):
        return _number_codes(name, type, part, data, kind)
    if kind is None:
        if _is_unique_id(name, part, family):
            return LeftOut(name, str(type), "a unique id: all values differ")
        if plain_few or _is_coded_real(part):
            return _number_codes(name, type, part, data, None)
    if part.base == "reals" and (kind == "real" or not part.whole):
        if kind == "integer":
            raise ValueError(
                f"data.columns.{name}: kind integer was asked for, but not all values "
                "are whole numbers; ask for real"
            )
        return _real(name, type, part)
    return _number(name, type, part)


def check_kind(name: str, type: pa.DataType, kind: str | None) -> None:
    """Raises ValueError where a kind cannot be had of a type."""
    family = cells.family(type)
    allowed = {"binary", "categorical"}
    if family is None:
        allowed = {"sequence"}
    elif family in ("text", "bytes"):
        allowed |= {"sequence"}
    if family in cells.NUMBERS:
        allowed |= {"integer", "real"}
    elif family in ("date", "duration"):
        allowed |= {"integer", "timestamp"} if family == "date" else {"integer"}
    elif family in ("timestamp", "time"):
        allowed = {"timestamp"}
    if kind is not None and kind not in allowed:
        raise ValueError(
            f"data.columns.{name}: kind {kind} was asked for, but the column is "
            f"{type}; one of {sorted(allowed)!r} or leave_out would do"
        )


LONGEST = 1 << 16
"""Variables of a column of lists, at most."""

SMOOTH_SHARE = 0.01
"""A value of a pixel with a larger share has a mass of its own in a mixture."""


def _list(
    name: str, type: pa.DataType, part: Sketch, data: DataConfig
) -> Column | LeftOut:
    """A column of lists or text: the lengths, and one element for all places."""
    lengths, types = part.lengths, element_types(type)
    assert lengths is not None and types is not None
    if lengths.low is None or lengths.high == 0:
        return LeftOut(name, str(type), "all lists are empty")
    named = (i for pattern, i in data.images.items() if fnmatchcase(name, pattern))
    image = next(named, None)
    if image and not lengths.low == lengths.high == image.size:
        raise ValueError(
            f"data.images.{name}: lists of {lengths.low} to {lengths.high} values are "
            f"no images of {' x '.join(map(str, image.shape))} = {image.size}; give "
            "the height, width and channels that they have"
        )
    elements = []
    for field_name, of in types.items():
        inner = part.fields[field_name]
        if image:
            elements.append(pixel(field_name, of, inner, image, f"data.images.{name}"))
            continue
        found = _element(name, field_name, of, inner, data)
        if isinstance(found, LeftOut):
            return LeftOut(name, str(type), f"its elements: {found.reason}")
        elements.append(found)
    places = int(lengths.high)
    width = sum(len(element.variables) for element in elements)
    if places * width > LONGEST:
        raise ValueError(
            f"data.columns.{name}: the longest of its lists has {places} places, which "
            f"makes {places * width} variables; {LONGEST} are the limit, so cut it, or "
            "leave it out"
        )
    names, state = _state(name, part, {})
    length = None
    if lengths.low < lengths.high:
        parent = None if state is None else 0
        given = points(lengths)
        length = _integer(f"{name}.length", given, parent, lengths.low, places)
    variables = variables_of(
        name,
        tuple(elements),
        places=places,
        state=state,
        length=length,
        apart=image is not None and state is None,
    )
    return ListColumn(
        name,
        "image" if image else "sequence",
        str(type),
        part.rows,
        variables,
        tuple(elements),
        places,
        int(lengths.low),
        image.shape if image else (),
        names,
    )


def _element(
    column: str, name: str, type: pa.DataType, part: Sketch, data: DataConfig
) -> Column | LeftOut:
    """What a place of a list holds: symbols as codes, or as such a column would be."""
    plain = data.model_copy(update={"columns": {}, "images": {}})
    override = data.columns.get(f"{column}.{name}") if name else None
    if override:
        if override.kind == "real" and part.base != "reals":
            raise ValueError(
                f"data.columns.{column}.{name}: kind real was asked for, but the field "
                f"is {type}; cast it to a floating type"
            )
        plain = plain.model_copy(update={"columns": {name: override}})
        return infer(name, type, part, plain)
    if distinct(part) == 1:  # constant, but a list of these has a length
        return _number_codes(name, type, part, plain, None)
    symbol = type == lists.SYMBOL or type == pa.uint8()
    if symbol and part.exact and (distinct(part) or 0) <= SYMBOLS:
        return _number_codes(name, type, part, plain, "categorical")
    return infer(name, type, part, plain)


def pixel(
    name: str, type: pa.DataType, part: Sketch, image: ImageConfig, key: str
) -> Column:
    """What the pixels of images are, all alike.

    Args:
        name: Of the column to be.
        type: Arrow type of a pixel.
        part: The sketch of all pixels.
        image: How they are to be modelled.
        key: Of the configuration, for messages.

    Raises:
        ValueError: They cannot be modelled so.
    """
    if part.base == "words" or part.missing or part.off:
        raise ValueError(f"{key}: pixels must be numbers, none null, these are {type}")
    count = distinct(part) or 0
    kind = image.pixels
    if part.base == "reals" and not part.whole:
        if kind in ("auto", "mixture"):
            return _real(name, type, part)
        raise ValueError(f"{key}: pixels: {kind} needs whole numbers; use mixture")
    if kind == "auto":
        few = int(part.high) - int(part.low) < FEW
        kind = "binary" if count <= 2 else "softmax" if few else "mixture"
    if kind == "mixture":
        return _smooth(_number(name, type, part))
    if kind == "binary" and count > 2:
        raise ValueError(
            f"{key}: pixels: binary was asked for, but they have {count} values"
        )
    return _shades(name, type, part, kind == "binary", key)


def _shades(
    name: str, type: pa.DataType, part: Sketch, binary: bool, key: str
) -> CodeColumn:
    """Pixels as codes, in the order of their values."""
    low, high = int(part.low), int(part.high)
    if not binary and cells.plain(type) == pa.uint8():
        low, high = 0, 255
    if binary:
        low, high = (low, high) if low < high else (0, max(1, high))
    if high - low >= 1 << 12 and not binary:
        raise ValueError(
            f"{key}: pixels: softmax was asked for, but values go from {low} to "
            f"{high}; use mixture"
        )
    values = (low, high) if binary else tuple(range(low, high + 1))
    given = points(part)
    at = np.searchsorted(np.asarray(values), given.values)
    counts = np.bincount(at.astype(int), given.counts, minlength=len(values))
    kind: Literal["binary", "categorical"]
    kind = "binary" if len(values) == 2 else "categorical"
    variable = Variable(
        name, kind, 0, size=len(values), frequencies=_shares(counts.tolist())
    )
    known: tuple[Any, ...] = values
    if cells.family(type) == "real":
        known = tuple(repr(float(value)) for value in values)
    return CodeColumn(name, kind, str(type), part.rows, (variable,), known)


def _smooth(column: NumberColumn) -> NumberColumn:
    """A number column whose mixture has masses at very frequent values only."""
    variable = column.variables[-1]
    if len(column.variables) > 1 or not variable.atoms:
        return column
    *shares, rest = variable.frequencies
    kept = [k for k, share in enumerate(shares) if share > SMOOTH_SHARE]
    lost = sum(shares) - sum(shares[k] for k in kept)
    smooth = replace(
        variable,
        atoms=tuple(variable.atoms[k] for k in kept),
        frequencies=(*(shares[k] for k in kept), rest + lost),
    )
    return replace(column, variables=(smooth,))


def _is_unique_id(name: str, part: Sketch, family: str | None) -> bool:
    """Whether all integers differ and are consecutive or named like an id."""
    if part.repeats or part.regular < UNIQUE_ROWS or not part.whole:
        return False
    if family not in ("integer", "decimal", "real"):
        return False
    span = part.high - part.low + 1
    return bool(span <= 4 * part.regular or ID_NAME.search(name))


def _is_coded_real(part: Sketch) -> bool:
    """Whether a real column holds so few values that they are categories."""
    if part.base != "reals" or part.whole or part.values is None:
        return False
    if part.specials["+inf"] or part.specials["-inf"]:
        return False
    return len(part.values) <= min(REAL_CODES, part.regular // 10)


def _infer_words(
    name: str, type: pa.DataType, part: Sketch, data: DataConfig, kind: str | None
) -> Column | LeftOut:
    """Text and bytes: categories, unless there are too many."""
    count = distinct(part)
    unique = part.exact and not part.repeats and part.regular >= UNIQUE_ROWS
    if kind is None and unique:
        return LeftOut(name, str(type), "a unique id: all values differ")
    if count is None or count > data.max_categories:
        given = f"more than {data.max_categories}" if count is None else str(count)
        reason = f"{given} different values; data.max_categories allows no more"
        if kind is None:
            return LeftOut(name, str(type), reason.replace("; ", ", "))
        raise ValueError(f"data.columns.{name}: {reason}; raise it or leave it out")
    assert part.values is not None and part.counts is not None
    known = part.values.to_pylist()
    if cells.family(type) == "bytes":
        known = [value.hex() for value in known]
    counts = dict(zip(known, part.counts.tolist(), strict=True))
    return _codes(name, type, part, counts, data.min_category_count, kind)


def _number_codes(
    name: str, type: pa.DataType, part: Sketch, data: DataConfig, kind: str | None
) -> Column | LeftOut:
    """Numbers as categories."""
    if part.specials["+inf"] or part.specials["-inf"]:
        raise ValueError(
            f"data.columns.{name}: kind {kind} was asked for, but the column holds "
            "infinities; ask for real"
        )
    if part.values is None or len(part.values) > data.max_categories:
        raise ValueError(
            f"data.columns.{name}: kind {kind} was asked for, but there are more than "
            f"{data.max_categories} values; raise data.max_categories"
        )
    values: list[Any] = part.values.to_pylist()
    if cells.family(type) == "real":
        values = [repr(float(value)) for value in values]
    counts = dict(zip(values, np.asarray(part.counts).tolist(), strict=True))
    least = data.min_category_count if kind == "categorical" else 1
    return _codes(name, type, part, counts, least, kind)


def _codes(
    name: str,
    type: pa.DataType,
    part: Sketch,
    counts: dict[Any, int],
    least: int,
    kind: str | None,
) -> Column | LeftOut:
    """A column of codes from the counts of its values."""

    def natural(value: Any) -> Any:  # reals are kept as text
        return float(value) if cells.family(type) == "real" else value

    missing, nan = part.missing, part.specials["nan"]
    if len(counts) == 2 and not missing + nan and min(counts.values()) >= least:
        low, high = sorted(counts, key=natural)
        total = counts[low] + counts[high]
        halves = (counts[low] / total, counts[high] / total)
        variable = Variable(name, "binary", 0, size=2, frequencies=halves)
        return CodeColumn(
            name, "binary", str(type), part.rows, (variable,), (low, high)
        )
    if kind == "binary":
        raise ValueError(
            f"data.columns.{name}: kind binary was asked for, but there are "
            f"{len(counts)} values and {missing + nan} nulls; ask for categorical"
        )
    order = sorted(counts, key=lambda v: (-counts[v], natural(v)))
    common = [v for v in order if counts[v] >= least]
    rare = [v for v in order if counts[v] < least]
    if not common and rare:
        reason = f"no value occurs {least} times, as data.min_category_count asks"
        return LeftOut(name, str(type), reason)
    tallies = {"missing": missing, "nan": nan, "rare": sum(counts[v] for v in rare)}
    specials = tuple(s for s, tally in tallies.items() if tally)
    shares = _shares([counts[v] for v in common] + [tallies[s] for s in specials])
    variable = Variable(name, "categorical", 0, size=len(shares), frequencies=shares)
    kept = rare[:RARE_KEPT]
    return CodeColumn(
        name,
        "categorical",
        str(type),
        part.rows,
        (variable,),
        tuple(common),
        specials,
        tuple(kept),
        tuple(counts[v] for v in kept),
    )


def _shares(counts: Sequence[float]) -> tuple[float, ...]:
    """Shares that are never 0: half a row is added to each count."""
    total = sum(counts) + len(counts) / 2
    return tuple((count + 0.5) / total for count in counts)


def _state(
    name: str, part: Sketch, atoms: dict[Any, int]
) -> tuple[tuple[str, ...], Variable | None]:
    """States that occur and the variable that tells them apart."""
    tallies = {"missing": part.missing, **part.specials}
    names = (REGULAR, *(s for s in SPECIALS if tallies[s]))
    if len(names) == 1 and not atoms:
        return (), None
    regular = part.regular - sum(atoms.values())
    counts = [regular, *(tallies[s] for s in names[1:]), *atoms.values()]
    shares = _shares([max(0, count) for count in counts])
    variable = Variable(
        f"{name}.state", "categorical", 0, size=len(shares), frequencies=shares
    )
    return names, variable


def _real(name: str, type: pa.DataType, part: Sketch) -> RealColumn:
    """A real column: atoms, and the transform of the others."""
    found = frequent_values(part, 0.01, REAL_ATOMS)
    beside = counts_beside(part, found)
    atoms = {
        v: c for v, c in sorted(found.items()) if c >= max(10, STANDS_OUT * beside[v])
    }
    names, state = _state(name, part, atoms)
    knots, scores = normal_scores(points(part, without=list(atoms)))
    even = tuple(NormalDist().inv_cdf((i + 0.5) / KNOTS) for i in range(KNOTS))
    value = Variable(name, "real", 0, parent=None if state is None else 0, knots=even)
    variables = (value,) if state is None else (state, value)
    return RealColumn(
        name,
        "real",
        str(type),
        part.rows,
        variables,
        names,
        tuple(float(a) for a in atoms),
        knots,
        scores,
    )


def counts_beside(part: Sketch, values: Collection[float]) -> dict[float, float]:
    """How often the values next to each of some values occur, in the median.

    Where a scale is coarse all values repeat, and none of them is special. A column of
    a few values has nothing beside them.
    """
    if part.values is None or part.counts is None:
        return dict.fromkeys(values, 1.0)
    if len(part.values) <= 2 * BESIDE:
        return dict.fromkeys(values, 0.0)
    known = part.values.to_numpy(zero_copy_only=False)
    counts = np.asarray(part.counts, np.float64)
    result = {}
    for value in values:
        place = int(np.searchsorted(known, value))
        near = counts[max(0, place - BESIDE) : place + BESIDE + 1]
        others = np.delete(near, min(place, BESIDE))
        result[value] = float(np.median(others))
    return result


def normal_scores(given: Points) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of a column's transform and the normal scores of their middle ranks.

    About 2 n^(1/3) knots: so many that the transform follows the density, so few that
    it does not follow the noise; some more towards the ends.
    """
    values, counts = given.values.astype(np.float64), given.counts
    values = np.clip(values, -GREATEST, GREATEST)
    if len(values) < 2 or values[-1] - values[0] < 1 / GREATEST:
        middle = float(values[0]) if len(values) else 0.0
        spread = abs(middle) or 1.0
        return (middle - spread, middle + spread), (-1.0, 1.0)
    total = float(counts.sum())
    inner = int(np.clip(round(2 * total ** (1 / 3)), 4, 256))
    ranks = (np.arange(inner) + 0.5) / inner
    tail = 0.5 / inner / 4.0 ** np.arange(1, 16)
    tail = tail[tail * total >= 10]
    ranks = np.concatenate([tail[::-1], ranks, 1 - tail])
    upto = np.cumsum(counts)
    places = np.searchsorted(upto, ranks * total)
    places = np.unique(np.minimum(places, len(values) - 1))
    if len(places) < 2:
        places = np.unique([0, int(places[0]), len(values) - 1])
    knots = values[places]
    middle_ranks = (upto[places] - counts[places] / 2) / total
    scores = np.array([NormalDist().inv_cdf(float(r)) for r in middle_ranks])
    kept = _apart(knots, scores)
    return tuple(knots[kept].tolist()), tuple(scores[kept].tolist())


def _apart(knots: np.ndarray, scores: np.ndarray) -> list[int]:
    """Places of knots that are not nearly equal, so that no slope is boundless."""
    width = np.quantile(knots, 0.9) - np.quantile(knots, 0.1) or np.ptp(knots)
    kept = [0]
    for place in range(1, len(knots)):
        gap = knots[place] - knots[kept[-1]]
        near = 1e-13 * abs(knots[place])
        if gap > max(near, 1e-9 * width) and scores[place] - scores[kept[-1]] > 1e-9:
            kept.append(place)
    return kept if len(kept) > 1 else [0, len(knots) - 1]


def _number(name: str, type: pa.DataType, part: Sketch) -> NumberColumn:
    """Integers, dates and timestamps in digits."""
    names, state = _state(name, part, {})
    kind, offset, step, radices, tags = _digits(type, part)
    parent = None if state is None else 0
    given = _digit_points(part, offset, step, radices)
    variables = [] if state is None else [state]
    sizes = [None, *radices]
    for place, (tag, size) in enumerate(zip(tags, sizes, strict=True)):
        lower, upper = _bounds(type, part, kind, offset, step, radices)
        if size is not None:
            lower, upper = 0, size - 1
        full = f"{name}.{tag}" if tag else name
        if size in (24, 60) or tag == "hour":
            codes = 24 if tag == "hour" else 60
            counts = np.bincount(
                given[place].values, given[place].counts, minlength=codes
            )
            variables.append(
                Variable(
                    full,
                    "categorical",
                    0,
                    size=codes,
                    parent=parent,
                    frequencies=_shares(counts.tolist()),
                )
            )
        else:
            variables.append(_integer(full, given[place], parent, lower, upper))
    return NumberColumn(
        name, kind, str(type), part.rows, tuple(variables), names, offset, step, radices
    )


def _digits(
    type: pa.DataType, part: Sketch
) -> tuple[Kind, int, int, tuple[int, ...], list[str]]:
    """Kind, offset, step, radices and the names of the variables of a number column."""
    family = cells.family(type)
    if family in ("time", "timestamp"):
        return _clock(type, part)
    zero = -(2**63) if pa.types.is_uint64(cells.plain(type)) else 0
    if part.low is None:
        return "integer", zero, 1, (), [""]
    low, high = int(part.low) - zero, int(part.high) - zero
    half = MAX_INTEGER // 2
    if max(abs(low), abs(high)) <= half:
        return "integer", zero, 1, (), [""]
    if high - low <= half:
        return "integer", int(part.low), 1, (), [""]
    if high >= 2**63:
        zero, low, high = 0, low - 2**63, high - 2**63
    count = 1
    while max(abs(low), abs(high)) >> (16 * count) > half:
        count += 1
    tags = ["high", *(f"digit{i}" for i in range(count - 1, -1, -1))]
    return "integer", zero, 1, (1 << 16,) * count, tags


def _clock(
    type: pa.DataType, part: Sketch
) -> tuple[Kind, int, int, tuple[int, ...], list[str]]:
    """Day, hour, minute, … as far down as any training row needs them."""
    per_second = cells.TICKS[cells.plain(type).unit]
    levels = [("hour", 24), ("minute", 60), ("second", 60)]
    for tag in ("ms", "us", "ns")[: round(math.log10(per_second)) // 3]:
        levels.append((tag, 1000))
    step = 1
    while levels and part.divisor % (step * levels[-1][1]) == 0:
        step *= levels.pop()[1]
        if cells.family(type) == "time" and len(levels) == 1:
            break
    tags, radices = [tag for tag, _ in levels], [size for _, size in levels]
    if cells.family(type) == "time":
        return "timestamp", 0, step, tuple(radices[1:]), tags
    return "timestamp", 0, step, tuple(radices), ["day", *tags]


def _digit_points(
    part: Sketch, offset: int, step: int, radices: tuple[int, ...]
) -> list[Points]:
    """The distribution of the first variable and of each digit."""
    if part.low is None:
        return [Points(np.zeros(1, np.int64), np.ones(1))] * (1 + len(radices))
    if part.exact or not radices:
        whole = points(part)
        values, counts = whole.values.astype(np.int64), whole.counts
    else:
        assert part.sample is not None
        values, counts = part.sample[0].astype(np.int64), part.sample[1]
    if not part.exact:
        values, counts = _with_frequent(part, values, counts)
    rest = (values - offset) // step
    found = []
    for radix in reversed(radices):
        found.append(_points(rest % radix, counts))
        rest = rest // radix
    return [_points(rest, counts), *found[::-1]]


def _with_frequent(
    part: Sketch, values: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A sample with the frequent values put in at their true weight."""
    top = frequent_values(part, 0.002, 4 * ATOMS)
    known = np.array([int(v) for v in top], np.int64)
    weights = np.array(list(top.values()), np.float64)
    loose = ~np.isin(values, known)
    scale = max(0.0, part.regular - weights.sum()) / max(1.0, counts[loose].sum())
    return (
        np.concatenate([known, values[loose]]),
        np.concatenate([weights, counts[loose] * scale]),
    )


def _bounds(
    type: pa.DataType,
    part: Sketch,
    kind: Kind,
    offset: int,
    step: int,
    radices: tuple[int, ...],
) -> tuple[float | None, float | None]:
    """Bounds of the first variable that follow from the type, or from the sign."""
    family, inner = cells.family(type), cells.plain(type)
    least = most = None
    if family == "integer":
        zero = 2**63 if pa.types.is_uint64(inner) else 0
        info = np.iinfo(inner.to_pandas_dtype())
        least, most = int(info.min) - zero, int(info.max) - zero
    elif family == "decimal":
        most = 10**inner.precision - 1
        least = -most
    elif family == "bool":
        least, most = 0, 1
    unit = math.prod(radices) * step
    lower = None if least is None else (least - offset) // unit
    upper = None if most is None else (most - offset) // unit
    zero = -(2**63) if pa.types.is_uint64(inner) else 0
    signless = kind == "integer" and family != "date" and offset == zero
    if signless and part.low is not None and int(part.low) >= zero:
        lower = 0
    if lower is not None and lower < -MAX_INTEGER:
        lower = None
    if upper is not None and upper > MAX_INTEGER:
        upper = None
    return lower, upper


def _integer(
    name: str,
    given: Points,
    parent: int | None,
    lower: float | None,
    upper: float | None,
) -> Variable:
    """An integer variable with atoms, scale and knots from its distribution."""
    total = float(given.counts.sum())
    if len(given.values) <= FEW:
        # A value seen once or twice says that others like it will come.
        atoms = np.flatnonzero(given.counts >= REPEATED).tolist()
    else:
        order = np.lexsort((given.values, -given.counts))[:ATOMS]
        atoms = sorted(i for i in order if given.counts[i] > 0.005 * total)
    at = given.counts[atoms]
    shares = _shares([*at.tolist(), max(0.0, total - float(at.sum()))])
    variable = Variable(
        name,
        "integer",
        0,
        parent=parent,
        location=float(given.quantile(0.5)),
        scale=spread(given),
        lower=lower,
        upper=upper,
        atoms=tuple(float(v) for v in given.values[atoms]),
        frequencies=shares,
        knots=tuple(sorted(float(knot) for knot in _knots(given))),
    )
    low, high = bounds(variable)
    assert low <= given.values[0] and given.values[-1] <= high
    return variable


def _knots(given: Points) -> set[Any]:  # int or float
    """Quantiles; where few values hold most rows, also quantiles of the others."""
    knots = {given.quantile((i + 0.5) / KNOTS) for i in range(KNOTS)}
    seldom = given.counts < given.counts.sum() / KNOTS
    if seldom.any():
        others = Points(given.values[seldom], given.counts[seldom])
        more = KNOTS - len(knots)
        knots |= {others.quantile((i + 0.5) / more) for i in range(more)}
    return knots


def spread(given: Points) -> float:
    """A robust standard deviation, at least a half."""
    for tail, normal in ((0.25, 1.349), (0.1, 2.563), (0.01, 4.653)):
        width = (given.quantile(1 - tail) - given.quantile(tail)) / normal
        if width > 0:
            return max(0.5, float(width))
    mean = np.average(given.values, weights=given.counts)
    variance = np.average((given.values - mean) ** 2, weights=given.counts)
    return max(0.5, float(np.sqrt(variance)))


def describe(
    part: Sketch, outcome: Column | LeftOut, type: pa.DataType
) -> dict[str, Any]:
    """A column's entry in profile.json."""
    entry: dict[str, Any] = {
        "name": outcome.name,
        "type": str(type),
        "kind": outcome.kind if isinstance(outcome, Column) else "left out",
        "why": why(part, outcome),
        "rows": part.rows,
        "missing": part.missing,
        "distinct": distinct(part),
    }
    entry |= {name: count for name, count in part.specials.items() if count}
    if part.lengths is not None and part.lengths.low is not None:
        entry["lengths"] = [part.lengths.low, part.lengths.high]
    if part.base == "words":
        if part.values is not None and part.counts is not None:
            order = np.lexsort((np.arange(len(part.counts)), -part.counts))[:TOP]
            top = part.values.take(pa.array(order)).to_pylist()
            entry["top"] = [
                [v if isinstance(v, str) else v.hex(), int(c)]
                for v, c in zip(top, part.counts[order], strict=True)
            ]
    elif part.low is not None:
        given = points(part)
        shown = {f"{q:g}": given.quantile(q) for q in (0.01, 0.25, 0.5, 0.75, 0.99)}
        quantiles = {"0": part.low, **shown, "1": part.high}
        entry["quantiles"] = {k: _readable(v, type) for k, v in quantiles.items()}
        entry["distribution"] = distribution(given)
    return entry


def distribution(given: Points) -> list[list[float]]:
    """Some values in ascending order, each with the share of rows up to it.

    From this, distances to another dataset's distribution are exact to 1 / `SHARES`.
    """
    reached = np.cumsum(given.counts) / given.counts.sum()
    wanted = np.arange(1, SHARES + 1) / SHARES
    places = np.searchsorted(reached, wanted * (1 - 1e-12))
    kept = np.unique(np.minimum(places, len(reached) - 1))
    return [[given.values[k].item(), float(reached[k])] for k in kept]


def _readable(value: Any, type: pa.DataType) -> Any:  # a number of the sketch
    """A sketch's number in the column's own terms: a date as text, say."""
    if isinstance(value, float):
        return value
    array = cells.from_integers(np.array([value], np.int64), None, cells.plain(type))
    scalar = array[0].as_py() if not pa.types.is_timestamp(array.type) else None
    if scalar is None:
        return pc.cast(array, pa.string())[0].as_py()
    return scalar if isinstance(scalar, int | float) else str(scalar)


def why(part: Sketch, outcome: Column | LeftOut) -> str:
    """The reason for a column's kind, for people."""
    if isinstance(outcome, LeftOut):
        return outcome.reason
    if isinstance(outcome, ListColumn):
        span = f"{outcome.shortest} to {outcome.places}"
        lengths = span if outcome.varies else str(outcome.places)
        return f"lists of {lengths} places"
    count = distinct(part)
    if outcome.kind == "binary":
        return "two values"
    if outcome.kind == "categorical":
        return f"{count} values"
    if outcome.kind == "timestamp":
        return "a point in time, in the digits " + ", ".join(
            v.name.rpartition(".")[2] for v in outcome.variables
        )
    if isinstance(outcome, RealColumn):
        atoms = f", {len(outcome.atoms)} of them repeated" if outcome.atoms else ""
        return f"{count} real values{atoms}"
    return f"{count} whole numbers"


def constant_column(name: str, value: pa.Array, kind: str | None) -> LeftOut | None:
    """The column left out since all rows hold `value`, unless a kind was asked for."""
    if kind is not None:
        return None
    reason = "all null" if value.null_count else "constant"
    return constant(name, value, reason)
