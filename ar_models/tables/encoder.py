"""Conversion of Arrow tables to the variables of a model, and back.

The log-probability of a column, in nats of its own units, is the sum of what a network
gives its variables plus the column's entry of `log_abs_det`. Discrete columns come back
from `decode` exactly; reals come back from a float32 score z with an error of at most
2**-22 * max(1, |z|) * |dx/dz|, which is about 1e-6 of the column's spread.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow, structs
from ar_models.tables.column_types import column_from_dict
from ar_models.tables.columns import IN_SUPPORT, Coded, Column, absolute_variables
from ar_models.tables.decimals import WideDecimal, restored
from ar_models.tables.derivations import (
    derivation_order,
    overlay,
    parent_cells,
)
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.inequality import Inequality, log_masses, penalties
from ar_models.tables.key_columns import KeyColumn
from ar_models.tables.left_out import LeftOut
from ar_models.tables.list_cells import readable
from ar_models.tables.schema_text import from_text, to_text
from ar_models.tables.text_formats import as_modelled
from ar_models.tables.trained_cells import as_trained

BLOCK = 1 << 15
"""Number of rows encoded at a time, whose intermediate results fit the cache."""

Adjust = Callable[[Column, pa.Array, pa.DataType], pa.Array]
"""Function that replaces the cells of a column."""

FORMAT = 4
"""Version of the encoding; prepared data of another version are stale."""


@dataclass(frozen=True)
class Encoded:
    """Variables of the n rows of a table.

    Attributes:
        x: (n, dim) float32.
        log_abs_det: Log-determinant of the encoding of each column, (n, columns)
            float64, nats; added to the log-probability by the network.
        out_of_support: (n, columns) int8: IN_SUPPORT or a reason, such as MISSING.
        mean_log_slopes: Mean contribution of each variable to `log_abs_det`, where
            present, (dim,), nats; None: zero.
        unknown: Which cells are marginalised, (n, columns) bool; None: no cell is.
        penalties: Part of `log_abs_det` that violated inequalities take away,
            (n, columns), nats; None: zero.
    """

    x: np.ndarray
    log_abs_det: np.ndarray
    out_of_support: np.ndarray
    mean_log_slopes: np.ndarray | None = None
    unknown: np.ndarray | None = None
    penalties: np.ndarray | None = None


@dataclass(frozen=True)
class Image:
    """Columns that are the pixels of images.

    Attributes:
        columns: The one column of lists, or a column for each value, row by row.
        shape: Height, width and channels.
    """

    columns: tuple[str, ...]
    shape: tuple[int, int, int]


class TableEncoder:
    """The map between the modelled columns of a table and the variables of a model.

    Attributes:
        columns: The modelled columns; a variable's group is its column's number, where
            no column is an image.
        left_out: Columns that are not modelled.
        schema: Arrow schema in which the training table is modelled, all columns.
        images: Columns that are images.
        carried: Columns of the training table that are copied to outputs and whose
            types later tables keep, such as hive keys among the ids.
        written: Arrow schema of the training table, in which `decode` returns rows; its
            decimals may have more digits than those of `schema`.
        wide: Columns of decimals that are modelled as reals.
        keys: Columns that are not modelled, and that samples have with new values.
        inequalities: Inequalities that rows seldom violate.
        variables: Descriptions of all variables.
        order: Indices of the columns, parents before the columns derived from them.
    """

    def __init__(
        self,
        columns: tuple[Column, ...],
        left_out: tuple[LeftOut, ...],
        schema: pa.Schema,
        images: tuple[Image, ...] = (),
        carried: pa.Schema | None = None,
        written: pa.Schema | None = None,
        wide: tuple[WideDecimal, ...] = (),
        keys: tuple[KeyColumn, ...] = (),
    ) -> None:
        if not columns:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in left_out)
            raise ValueError(
                f"no column is left to model ({reasons}); "
                "give a kind to one of them under data.columns"
            )
        self.columns = columns
        self.left_out = left_out
        self.schema = schema.remove_metadata()
        self.images = images
        self.carried = pa.schema(carried or [])
        self.written = self.schema if written is None else written.remove_metadata()
        self.wide, self.keys = wide, keys
        self.inequalities: tuple[Inequality, ...] = ()
        self.variables = absolute_variables(columns)
        self.order = derivation_order(columns)
        starts = np.cumsum([0] + [len(c.variables) for c in columns])
        self._slices = [
            slice(int(a), int(b)) for a, b in zip(starts, starts[1:], strict=False)
        ]

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.variables)

    @property
    def names(self) -> list[str]:
        """Names of the modelled columns."""
        return [column.name for column in self.columns]

    @cached_property
    def _mean_log_slopes(self) -> np.ndarray:
        """Mean contribution of each variable to `log_abs_det`, (dim,), nats."""
        return np.concatenate([column.mean_log_slopes for column in self.columns])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all but the weights of inequalities: 16 hexadecimal digits."""
        canonical = json.dumps(self.without_weights().to_dict(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def column_of(self, variable: int) -> Column:
        """Return the column that a variable belongs to."""
        return self.columns[self.variables[variable].column_index]

    def span(self, j: int) -> slice:
        """Return the slice of the variables of column `j`."""
        return self._slices[j]

    def value_variable(self, j: int) -> int:
        """Return the index of the main value variable of column `j`."""
        return self._slices[j].start + self.columns[j].value

    def type_of(self, j: int) -> pa.DataType:
        """Return the Arrow type of column `j` in the training table."""
        return self.schema.field(self.columns[j].name).type

    def as_modelled(
        self, j: int, array: pa.Array | pa.ChunkedArray
    ) -> pa.Array | pa.ChunkedArray:
        """Return the values of column `j` where it was text, such as dates, that it is.

        Args:
            j: Index of the column.
            array: Its cells, which are returned as they are if they are not a text.
        """
        return as_modelled(array, self.schema.field(self.columns[j].name))

    @cached_property
    def structs(self) -> dict[str, pa.DataType]:
        """Types of the structs of the training table, by name."""
        return structs.types(self.schema)

    def flatten(self, table: pa.Table) -> pa.Table:
        """Return a table with columns in place of structs, fields that lack null."""
        return structs.flatten(table, self.schema)

    def encode(self, table: pa.Table) -> Encoded:
        """Encode a table: the variables of its rows and the log-determinants.

        Columns may be in any order, and the table may have others; structs stand for
        the columns of their fields. The type of a column may differ if it
        holds the same values, such as another width of integers.

        Raises:
            ValueError: A column is missing or its type cannot be read as the trained
                one.
        """
        table = self.flatten(table)
        self.check(table.schema)
        rows = table.num_rows
        x = np.empty((rows, self.dim), np.float32)
        # Column after column in memory, as they are written.
        log_abs_det = np.empty((len(self.columns), rows), np.float64).T
        out_of_support = np.empty((len(self.columns), rows), np.int8).T
        for begin in range(0, rows, BLOCK):
            block = slice(begin, min(rows, begin + BLOCK))
            part = table.slice(begin, BLOCK)
            for j, column in enumerate(self.columns):
                coded = self.encode_column(j, part)
                x[block, self._slices[j]] = coded.x
                out_of_support[block, j] = coded.out_of_support
                log_abs_det[block, j] = coded.log_abs_det(column.log_masses)
        charges = penalties(self.inequalities, table, self.schema, self.names)
        if charges is not None:
            log_abs_det += log_masses(self.inequalities, self.names) - charges
        slopes = self._mean_log_slopes
        return Encoded(x, log_abs_det, out_of_support, slopes, penalties=charges)

    def with_inequalities(self, inequalities: Sequence[Inequality]) -> "TableEncoder":
        """Return the same encoder with other inequalities, or weights of them."""
        other = copy(self)
        other.__dict__.pop("fingerprint", None)
        other.inequalities = tuple(inequalities)
        return other

    def without_weights(self) -> "TableEncoder":
        """Return the encoder as it is before a model is trained."""
        return self.with_inequalities([i.without_weight() for i in self.inequalities])

    def encode_column(self, j: int, table: pa.Table) -> Coded:
        """Encode column `j` of a table, which has its parents, too."""
        column, type = self.columns[j], self.type_of(j)
        array = table.column(column.name)
        if not isinstance(column, DerivedColumn):
            return column.encode(array, type)
        cells = parent_cells(column, table, self.schema)
        return column.encode_derived(array, type, cells)

    def encode_plain(self, j: int, table: pa.Table) -> Coded:
        """Encode column `j` of a table as if it had no constraints."""
        column = self.columns[j]
        return column.plain.encode(table.column(column.name), self.type_of(j))

    def codes(self, table: pa.Table, column: str) -> np.ndarray:
        """Return the codes of a binary or categorical column of a table.

        Args:
            table: The n rows.
            column: Name of the column.

        Returns:
            Codes, (n,) int64; -1 where the cell is out of support.
        """
        x = self.encode_plain(self.names.index(column), table).x[:, 0]
        codes: np.ndarray = np.nan_to_num(x, nan=-1.0).astype(np.int64)
        return codes

    def check(self, schema: pa.Schema) -> None:
        """Raise ValueError if a table of this schema cannot be encoded."""
        self.check_some(schema, self.names)

    def check_some(self, schema: pa.Schema, columns: Collection[str]) -> None:
        """Raise ValueError if some columns of a table cannot be encoded."""
        for j, name in enumerate(self.names):
            if name in columns:
                self.check_column(schema, j)

    def check_column(self, schema: pa.Schema, j: int) -> None:
        """Raise ValueError if column `j` of a table cannot be encoded."""
        column = self.columns[j]
        places = schema.get_all_field_indices(column.name)
        if len(places) != 1:
            problem = "is missing" if not places else "occurs more than once"
            raise ValueError(
                f"column {column.name!r} {problem} (trained as {column.type}); "
                f"given are {schema.names!r}; give each trained column once"
            )
        given = schema.field(places[0]).type
        if not readable(given, self.type_of(j)):
            raise ValueError(
                f"column {column.name!r} is {given}, which cannot be read as "
                f"{column.type}, as it was in training; cast it, or train anew"
            )

    def without_nulls(self, encoded: Encoded, table: pa.Table) -> Encoded:
        """Return encoded rows whose nulls are marginalised, not missing values.

        A derived cell counts as unknown, too, where unknown cells decide which of its
        constraints holds.
        """
        unknown = self.undetermined(encoded.x, table)
        groups = np.array([variable.column_index for variable in self.variables])
        return replace(
            encoded,
            x=np.where(unknown[:, groups], np.float32(np.nan), encoded.x),
            log_abs_det=np.where(unknown, 0.0, encoded.log_abs_det),
            out_of_support=np.where(
                unknown, np.int8(IN_SUPPORT), encoded.out_of_support
            ),
            unknown=unknown,
        )

    def undetermined(self, x: np.ndarray, table: pa.Table) -> np.ndarray:
        """Return which cells are null or have an encoding that depends on null ones.

        Args:
            x: The encoded rows, (n, dim).
            table: The rows.

        Returns:
            (n, columns) bool.
        """
        nulls = {name: np.asarray(table.column(name).is_null()) for name in self.names}
        unknown = np.stack(list(nulls.values()), axis=1)
        known = {name: ~null for name, null in nulls.items()}
        for j, column in enumerate(self.columns):
            if isinstance(column, DerivedColumn):
                numbers = column.numbers(x[:, self._slices[j].start])
                unknown[:, j] |= ~column.is_determined(numbers, known)
        return unknown

    def out_of_support(self, table: pa.Table) -> np.ndarray:
        """Return why each cell is out of support, (n, columns) int8; 0: it is not."""
        return self.encode(table).out_of_support

    def decode(
        self,
        x: np.ndarray,
        *,
        seed: int = 0,
        given: pa.Table | None = None,
        adjust: Adjust | None = None,
    ) -> pa.Table:
        """Convert variables (n, dim) to a table, with the constant columns.

        Args:
            x: Variables; a column all of whose variables are absent becomes null, as
                does a derived one whose constraint is undefined in the row.
            seed: Chooses among the rare categories that share a code.
            given: Known cells of the first rows, which derived columns are computed
                from; a null says that the cell is not known.
            adjust: Function that replaces the cells of a column, given the column and
                its type, before others are derived from them.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}), got {x.shape!r}")
        arrays: dict[str, pa.Array] = {}
        for j in self.order:
            rng = np.random.default_rng([seed, j])
            name = self.columns[j].name
            cells = self.decode_cells(j, x[:, self._slices[j]], rng, arrays)
            if adjust is not None:
                cells = adjust(self.columns[j], cells, self.type_of(j))
            arrays[name] = cells
            if given is not None and name in self.parents & set(given.column_names):
                own, _ = as_trained(given.column(name), self.type_of(j))
                rest = pa.nulls(len(x) - len(own), own.type)
                known = overlay(pa.concat_arrays([own, rest]), arrays[name])
                arrays[name] = arrow.as_type(known, self.type_of(j))
        arrays = structs.emptied(arrays, self.schema, given)
        arrays = {name: self.as_written(name, a) for name, a in arrays.items()}
        for left in self.left_out:
            if left.constant:
                arrays[left.name] = left.repeat(len(x))
        fields = [
            f.with_type(arrays[f.name].type).with_nullable(_nullable(f, arrays[f.name]))
            for f in self.written
            if f.name in arrays
        ]
        return pa.Table.from_arrays(
            [arrays[f.name] for f in fields], schema=pa.schema(fields)
        )

    def as_written(self, name: str, array: pa.Array) -> pa.Array:
        """Convert cells of a column from the modelled to the training table's type."""
        type = self.written.field(name).type
        if array.type == type or self.schema.field(name).type == type:
            return array
        wide = next((w for w in self.wide if w.name == name), None)
        plain = restored(arrow.flat(array), arrow.plain(type), wide)
        return arrow.as_type(plain, type)

    @cached_property
    def parents(self) -> set[str]:
        """Names of the columns that others are derived from."""
        derived = [c for c in self.columns if isinstance(c, DerivedColumn)]
        return {name for column in derived for name in column.parents}

    def decode_cells(
        self,
        j: int,
        x: np.ndarray,
        rng: np.random.Generator,
        cells: Mapping[str, pa.Array],
    ) -> pa.Array:
        """Convert the variables of column `j` to an array.

        Args:
            j: Index of the column.
            x: Its variables, (n, variables).
            rng: Generator that draws rare categories.
            cells: Cells of the rows, at least of the columns it is derived from.
        """
        column, type = self.columns[j], self.type_of(j)
        if not isinstance(column, DerivedColumn):
            return column.decode(x, type, rng)
        parents = {name: arrow.flat(cells[name]) for name in column.parents}
        return column.decode_derived(x, type, rng, parents)

    def undefined(self, x: np.ndarray, table: pa.Table) -> np.ndarray:
        """Return the rows that cannot be, (n,) bool.

        A derived cell has a constraint that is undefined, or a null struct has a field
        with a given value.

        Args:
            x: Variables, (n, dim).
            table: What they were decoded to.
        """
        wrong = structs.contradictory(table, self.schema)
        for j, column in enumerate(self.columns):
            if isinstance(column, DerivedColumn):
                cells = parent_cells(column, table, self.schema)
                own = arrow.flat(table.column(column.name))
                wrong |= column.undefined(x[:, self._slices[j]], own, cells)
        return wrong

    def decode_column(self, j: int, values: np.ndarray) -> pa.Array:
        """Convert values of the main value variable of column `j` to an array.

        The values are quantiles of an integer or real variable, or codes. Of a value in
        several digits only the first is given; the others count as 0.
        """
        return self.columns[j].values_of(np.asarray(values), self.type_of(j))

    def labels(self, j: int) -> list[str]:
        """Return the names of the codes of column `j`; [] if it has no codes."""
        return self.columns[j].labels(self.type_of(j))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict from which `from_dict` makes an equal encoder."""
        # Left out where empty, so that earlier encoders keep their fingerprints.
        extra = {"carried": to_text(self.carried)} if len(self.carried) else {}
        keys = [key.to_dict() for key in self.keys]
        inequalities = [each.to_dict() for each in self.inequalities]
        return {
            "format": FORMAT,
            "columns": [column.to_dict() for column in self.columns],
            "left_out": [asdict(left) for left in self.left_out],
            "schema": to_text(self.schema),
            "images": [asdict(image) for image in self.images],
            "written": to_text(self.written),
            "wide": [asdict(column) for column in self.wide],
            **extra,
            **({"keys": keys} if keys else {}),
            **({"inequalities": inequalities} if inequalities else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "TableEncoder":
        """Return the encoder that `to_dict` described."""
        if fields["format"] != FORMAT:
            raise ValueError(
                f"encoder of format {fields['format']!r} given, this version reads "
                f"{FORMAT}; prepare and train anew"
            )
        columns = tuple(column_from_dict(column) for column in fields["columns"])
        left_out = tuple(LeftOut(**left) for left in fields["left_out"])
        images = tuple(
            Image(tuple(image["columns"]), tuple(image["shape"]))
            for image in fields.get("images", [])
        )
        carried = fields.get("carried")
        wide = tuple(WideDecimal(**column) for column in fields.get("wide", []))
        encoder = cls(
            columns,
            left_out,
            from_text(fields["schema"]),
            images,
            from_text(carried) if carried else None,
            from_text(fields.get("written", fields["schema"])),
            wide,
            tuple(KeyColumn.from_dict(key) for key in fields.get("keys", [])),
        )
        known = [Inequality(**each) for each in fields.get("inequalities", [])]
        return encoder.with_inequalities(known)


def _nullable(field: pa.Field, array: pa.Array) -> bool:
    """Return whether a decoded field may hold nulls, as cells out of support do."""
    return bool(field.nullable or array.null_count)
