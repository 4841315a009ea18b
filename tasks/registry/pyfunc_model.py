"""The pyfunc of a registered model; MLflow stores this file and runs it on loading.

It imports only packages in the requirements of a version, and the package `ar_models`
that was logged with the version. Several versions in one process share no code.
"""

import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

PACKAGE = "ar_models"
"""Package that is logged with a version, in its folder `code`."""

OUTPUTS = ("score", "log_prob", "column_log_prob", "sample", "impute", "embed")
"""Values of the param `output`."""

SCORE_PARAMS = (
    *("statistic", "calibrate_by", "min_segment_rows", "missing"),
    *("explain", "explain_columns", "column_log_prob"),
)
"""Params that are options of scoring, besides the rule that flags anomalies."""

ROWS = 65_536
"""Maximum number of rows that are processed at a time, to bound memory."""

MAX_EXACT_FLOAT = 2.0**53
"""Up to this, every integer is a float of 64 bits."""

ZONE = r":\d\d.*(Z|[+-]\d\d:?\d\d)$"
"""Pattern of the end of an ISO 8601 timestamp that has a time zone."""

UUID_BYTES = 16
"""Number of bytes of a UUID."""

LOADING = threading.Lock()
"""Held while the code of a version is imported."""


class DensityModel(PythonModel):
    """MLflow model that applies a `TableDensity` to pandas, Polars and Arrow tables."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        with own_code(folder.parents[1] / "code"):
            # Any: the classes are those of the version's own code.
            saved_form = import_module(f"{PACKAGE}.density.saved_form")
            self.scorer: Any = import_module(f"{PACKAGE}.density.scorer")
            self.sampler: Any = import_module(f"{PACKAGE}.density.sampler")
            self.imputer: Any = import_module(f"{PACKAGE}.density.imputer")
            self.conformal: Any = import_module(f"{PACKAGE}.scoring.conformal")
            self.text_formats: Any = import_module(f"{PACKAGE}.tables.text_formats")
            self.structs: Any = import_module(f"{PACKAGE}.tables.structs")
            self.key_columns: Any = import_module(f"{PACKAGE}.tables.key_columns")
        self.density: Any = saved_form.load_density(folder)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,  # MLflow warns of hints of what else holds rows
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return what the param `output` names; for given rows, with their index.

        `score`: the scored columns; q-values and budgets refer to the given rows.
        `log_prob`: the log-probability of each row, in nats. `column_log_prob`: that of
        each column given those before it. `embed`: the features of each row.
        `impute`: the columns with their nulls filled.
        `sample`: new rows, as many as the param `rows`.

        Args:
            context: The artifacts, which `load_context` has read.
            model_input: The rows: a pandas or Polars DataFrame, an Arrow table, a list
                of dicts, or a dict of columns.
            params: Output and options, see the signature.
        """
        chosen = params or {}
        output = chosen["output"]
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}")
        if output == "sample":
            return self.sample(chosen)
        given = to_rows(model_input)
        table = to_arrow(given, self.density.encoder)
        if output == "score":
            found = self.score(table, chosen)
        elif output == "impute":
            found = self.impute(table, chosen, set(self.structs_in(given)))
        else:
            starts = range(0, max(1, len(table)), ROWS)
            found = pd.concat(
                [self.describe(table.slice(k, ROWS), chosen) for k in starts],
                ignore_index=True,
            )
        return found.set_axis(given.index) if isinstance(given, pd.DataFrame) else found

    def sample(self, chosen: dict[str, Any]) -> pd.DataFrame:
        """Return new rows, with new values of ids and columns that are not modelled."""
        names = ("log_prob", "temperature", "top_p")
        options = self.sampler.SampleOptions(**{n: chosen[n] for n in names})
        sampler = self.sampler.Sampler(self.density, options)
        rows, seed = chosen["rows"], chosen["seed"]
        drawn = self.key_columns.with_new_keys(
            sampler.sample(rows, seed=seed),
            self.density.encoder.keys,
            chosen["new_keys"],
            0,
            rows,
            seed,
        )
        drawn = self.structs.nest(self.text_formats.as_written(drawn))
        frame: pd.DataFrame = drawn.to_pandas()
        return frame

    def describe(self, table: pa.Table, chosen: dict[str, Any]) -> pd.DataFrame:
        """Return the log-probabilities or features of some rows."""
        if chosen["output"] == "embed":
            return pd.DataFrame({"features": list(self.density.features(table))})
        values = self.density.column_log_prob(table, missing=chosen["missing"])
        if chosen["output"] == "log_prob":
            return pd.DataFrame({"log_prob": values.sum(axis=1)})
        return pd.DataFrame(values, columns=self.density.columns)

    def score(self, table: pa.Table, chosen: dict[str, Any]) -> pd.DataFrame:
        """Return the scored columns of all rows; [] where there is no explanation."""
        rule = [chosen[name] for name in ("threshold", "fdr", "budget")]
        options = self.scorer.ScoreOptions(
            rule=self.conformal.Rule.of(*rule), **{n: chosen[n] for n in SCORE_PARAMS}
        )
        scored = self.scorer.Scorer(self.density, options).score(table)
        place = scored.schema.get_field_index("explanation")
        reasons = scored.column(place)
        # Spark cannot convert a missing list.
        reasons = pc.if_else(reasons.is_valid(), reasons, pa.scalar([], reasons.type))
        frame: pd.DataFrame = scored.set_column(
            place, "explanation", reasons
        ).to_pandas()
        return frame

    def impute(
        self, table: pa.Table, chosen: dict[str, Any], structs: set[str]
    ) -> pd.DataFrame:
        """Return the rows with their nulls filled.

        Args:
            table: The rows.
            chosen: Values of the params.
            structs: Names of the structs of which the rows have the fields.
        """
        encoder = self.density.encoder
        for j, name in enumerate(encoder.names):
            if pa.types.is_null(table.schema.field(j).type):  # all values are null
                values = table.column(j).cast(encoder.type_of(j))
                table = table.set_column(j, name, values)
        options = self.imputer.ImputeOptions(
            method=chosen["method"], details=chosen["details"]
        )
        imputer = self.imputer.Imputer(self.density, options)
        table = self.text_formats.with_formats(table, encoder.schema)
        filled = imputer.impute(table, seed=chosen["seed"])
        filled = self.text_formats.as_written(filled)
        if structs:
            filled = self.structs.nest(filled)
        found: pd.DataFrame = filled.to_pandas()
        return found

    def structs_in(self, given: pd.DataFrame | pa.Table) -> list[str]:
        """Return the names of the model's structs that stand as such in given rows."""
        names = self.density.encoder.structs
        if isinstance(given, pd.DataFrame):
            return [name for name in names if name in given]
        flags = ((f.name, pa.types.is_struct(f.type)) for f in given.schema)
        return [name for name, is_struct in flags if is_struct and name in names]


@contextmanager
def own_code(folder: Path) -> Iterator[None]:
    """Import `PACKAGE` from a folder within the block, and restore other imports of it.

    Objects of the imported modules keep the modules alive.
    """
    with LOADING:
        others = remove_modules()
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            remove_modules()
            sys.modules.update(others)


def remove_modules() -> dict[str, Any]:
    """Remove the modules of `PACKAGE` from `sys.modules`, and return them."""
    names = [n for n in sys.modules if n.partition(".")[0] == PACKAGE]
    return {name: sys.modules.pop(name) for name in names}


def to_rows(given: Any) -> pd.DataFrame | pa.Table:
    """Return rows as a DataFrame or an Arrow table.

    Args:
        given: A pandas DataFrame, whatever exports an Arrow stream, such as a Polars
            DataFrame or an Arrow table, a list of dicts, or a dict of columns.
    """
    if isinstance(given, (pd.DataFrame, pa.Table)):
        return given
    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    return pd.DataFrame([given] if isinstance(given, pd.Series) else given)


def without_views(type: pa.DataType) -> pa.DataType:
    """Return the type of text or bytes instead of that of views of them."""
    if pa.types.is_string_view(type):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(type) else type


def to_arrow(given: pd.DataFrame | pa.Table, encoder: Any) -> pa.Table:
    """Convert the columns of rows to those of a model; NaN, NaT and None become nulls.

    In columns that had NaN and no null in training, NaN of pandas stays NaN, since
    pandas does not distinguish them. Types may differ from those of training if the
    encoder can convert them. Dates and times may be text in ISO 8601, as in JSON, and
    numbers, bools and UUIDs text, too. A column that Parquet stored for the index may
    be the index, and fields of a struct may be columns or stand in a column of dicts.

    Args:
        given: The rows.
        encoder: Encoder of the model, of a version's own code.

    Raises:
        ValueError: A column is missing, or cannot be read as in training.
    """
    columns = encoder.names
    fields = {}
    if isinstance(given, pa.Table):
        given = encoder.flatten(given)
        types = [f.with_type(without_views(f.type)) for f in given.schema]
        given = given.cast(pa.schema(types))
        fields = dict(zip(given.column_names, given.columns, strict=True))
        names = given.column_names
    else:
        given = with_index(given, columns)
        names = list(given.columns)
        for struct, type in encoder.structs.items():
            if struct in given:
                fields |= struct_fields(struct, given[struct], type, encoder)
    missing = [name for name in columns if name not in names and name not in fields]
    if missing:
        raise ValueError(
            f"the columns {missing!r} are missing; given are {names!r}, needed are "
            f"{columns!r}"
        )
    arrays = {}
    for j, column in enumerate(encoder.columns):
        name, seen = column.name, column.specials_seen
        null = "missing" in seen or "nan" not in seen
        try:
            array = fields.get(name)
            if array is None:
                array = to_array(given[name], encoder.type_of(j), null)
            array = encoder.as_modelled(j, array)
            check_exact(name, array, encoder.type_of(j))
            arrays[name] = parse_text(array, encoder.type_of(j))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"column {name!r}: cannot be read as {column.type}, as it was in "
                f"training: {error}"
            ) from error
    return pa.table(arrays)


def struct_fields(
    name: str, values: pd.Series, type: pa.DataType, encoder: Any
) -> dict[str, pa.ChunkedArray]:
    """Return the columns of the fields of a column of structs.

    Args:
        name: Name of the column.
        values: The structs, such as dicts; or bools, if the frame has the fields.
        type: Type of the structs in training.
        encoder: Encoder of the model, of a version's own code.
    """
    array = to_array(values, type, null=True)
    if pa.types.is_null(array.type):
        array = pa.nulls(len(array), type)
    if not pa.types.is_struct(array.type):
        return {}
    flat = encoder.flatten(pa.table({name: array}))
    return dict(zip(flat.column_names, flat.columns, strict=True))


def with_index(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return a frame with the levels of its index that are columns of the model.

    Args:
        frame: The frame.
        columns: Columns of the model; that of a level without a name is
            `__index_level_0__` and so on, as pandas writes it.
    """
    levels = {
        f"__index_level_{place}__" if name is None else name: place
        for place, name in enumerate(frame.index.names)
    }
    found = {
        name: frame.index.get_level_values(place)
        for name, place in levels.items()
        if name in columns and name not in frame
    }
    return frame.assign(**found) if found else frame


def check_exact(
    name: str, array: pa.Array | pa.ChunkedArray, type: pa.DataType
) -> None:
    """Raise if integers are given as floats that cannot hold them.

    Raises:
        ValueError: A float is beyond 2**53, from where on not every integer is one.
    """
    if not (pa.types.is_integer(type) and pa.types.is_floating(array.type)):
        return
    sizes = pc.abs(array.cast(pa.float64()))
    inexact = pc.and_(pc.greater(sizes, MAX_EXACT_FLOAT), pc.is_finite(sizes))
    if pc.any(inexact).as_py():
        value = array.filter(inexact)[0].as_py()
        raise ValueError(
            f"column {name!r}: holds {value!r} as a float, which is not exact beyond "
            "2**53; give integers, such as pandas' Int64"
        )


def parse_text(
    array: pa.Array | pa.ChunkedArray, type: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    """Parse text as numbers, bools, dates, times or UUIDs if the column was of these.

    Args:
        array: Values of the column; other than text, they are returned as they are.
        type: Type of the column in training.
    """
    of = pa.types
    while of.is_dictionary(type) or of.is_run_end_encoded(type):
        type = type.value_type
    values = array.type.value_type if of.is_dictionary(array.type) else array.type
    if not (of.is_string(values) or of.is_large_string(values)):
        return array
    if isinstance(type, pa.UuidType) or type == pa.binary(UUID_BYTES):
        return parse_uuids(array, type)
    if of.is_floating(type) or of.is_boolean(type) or of.is_decimal(type):
        return array.cast(pa.string()).cast(type)
    if not of.is_integer(type):
        return parse_times(array, type)
    try:
        return array.cast(pa.string()).cast(type)
    except pa.ArrowInvalid:  # pandas writes integers with nulls as 3.0
        return array.cast(pa.string()).cast(pa.float64())


def parse_uuids(array: pa.Array | pa.ChunkedArray, type: pa.DataType) -> pa.Array:
    """Parse text as UUIDs.

    Args:
        array: Text.
        type: Type of UUIDs: the extension type, or 16 bytes.

    Raises:
        pa.ArrowInvalid: A text is not a UUID.
    """
    found = []
    for text in array.to_pylist():
        try:
            found.append(None if text is None else uuid.UUID(text).bytes)
        except ValueError as error:
            raise pa.ArrowInvalid(f"{text!r} is not a UUID") from error
    stored = pa.array(found, pa.binary(UUID_BYTES))
    return (
        stored if type == stored.type else pa.ExtensionArray.from_storage(type, stored)
    )


def to_array(
    values: pd.Series, type: pa.DataType, null: bool
) -> pa.Array | pa.ChunkedArray:
    """Convert values to Arrow, to the type of training where they suggest none.

    Args:
        values: Values of the column.
        type: Type of the column in training.
        null: Whether NaN becomes null.

    Raises:
        pa.ArrowInvalid: The values suggest no type and do not fit that of training.
    """
    if values.dtype == object:  # of which Arrow knows no type
        values = values.map(lambda v: v.bytes if isinstance(v, uuid.UUID) else v)
    try:
        return pa.array(values, from_pandas=null)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # such as the pairs of a map
        return pa.array(values, type, from_pandas=null)


def parse_times(
    array: pa.Array | pa.ChunkedArray, type: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    """Parse text as dates, times or timestamps if the column had such a type.

    Timestamps are ISO 8601, such as 2026-01-31T12:30:00 and 2026-01-31 12:30:00.5Z;
    without a time zone they are UTC if the type has one. Times are 12:30 or 12:30:00.5.

    Args:
        array: Values of the column; other than text, they are returned as they are.
        type: Type of the column in training.
    """
    of = pa.types
    values = array.type.value_type if of.is_dictionary(array.type) else array.type
    is_text = of.is_string(values) or of.is_large_string(values)
    kinds = of.is_date, of.is_time, of.is_timestamp
    if not (is_text and any(is_kind(type) for is_kind in kinds)):
        return array
    text = array.cast(pa.string())
    if of.is_time(type):
        dated = pc.binary_join_element_wise("1970-01-01T", text, "")
        return dated.cast(pa.timestamp(type.unit)).cast(type)
    zoned = pc.any(pc.match_substring_regex(text, ZONE)).as_py()
    unit = type.unit if of.is_timestamp(type) else "us"
    return text.cast(pa.timestamp(unit, "UTC" if zoned else None))


set_model(DensityModel())
