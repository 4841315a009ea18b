"""The code of a registered model; MLflow stores this file and runs it to load one.

It imports only what the model's requirements name, not this project's `tasks`, and the
models' own code, which travels with each version, under no name that another version
could share: two versions in one process have nothing in common.
"""

import sys
import threading
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
"""What a version brings along in its folder `code`."""

OUTPUTS = ("score", "log_prob", "column_log_prob", "sample", "impute", "embed")

ROWS = 65_536
"""Rows that are worked on at a time, so that memory is bounded by what comes out."""

ZONE = r":\d\d.*(Z|[+-]\d\d:?\d\d)$"
"""How a moment in words ends that names its time zone."""

EXPLANATION = "explanation"

LOADING = threading.Lock()


class DensityModel(PythonModel):
    """A `TableDensity` that takes and gives DataFrames."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        with own_code(folder.parents[1] / "code"):
            # Any: the classes are those of the version's own code.
            saved_form = import_module(f"{PACKAGE}.density.saved_form")
            self.scorer: Any = import_module(f"{PACKAGE}.density.scorer")
            self.sampler: Any = import_module(f"{PACKAGE}.density.sampler")
            self.imputer: Any = import_module(f"{PACKAGE}.density.imputer")
            self.conformal: Any = import_module(f"{PACKAGE}.scoring.conformal")
        self.density: Any = saved_form.load_density(folder)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """What the param `output` asks for.

        `score`: the scored columns, a row for each given one; q_value, and a budget,
        take the given rows for the whole dataset. `log_prob`: that column
        alone, in nats. `column_log_prob`: the log-probability of each column given
        those before it, in nats. `embed`: what the network makes of each row, a list of
        numbers. `impute`: the given columns with their nulls filled, by an
        order-agnostic family. `sample`: as many new rows as the param `rows` says.

        What tells of given rows has their index.
        """
        chosen = params or {}
        output = chosen["output"]
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}")
        if output == "sample":
            options = self.sampler.SampleOptions(
                log_prob=chosen["log_prob"],
                temperature=chosen["temperature"],
                top_p=chosen["top_p"],
            )
            sampler = self.sampler.Sampler(self.density, options)
            drawn = sampler.sample(chosen["rows"], seed=chosen["seed"])
            frame: pd.DataFrame = drawn.to_pandas()
            return frame
        if output == "score":
            found = self.score(model_input, chosen)
        elif output == "impute":
            found = self.impute(model_input, chosen)
        else:
            starts = range(0, max(1, len(model_input)), ROWS)
            found = pd.concat(
                [self.tell(model_input.iloc[k : k + ROWS], chosen) for k in starts],
                ignore_index=True,
            )
        return found.set_axis(model_input.index)

    def tell(self, frame: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
        """What the model says of some rows, each by itself."""
        table = to_arrow(frame, self.density.encoder)
        if chosen["output"] == "embed":
            return pd.DataFrame({"features": list(self.density.features(table))})
        values = self.density.column_log_prob(table, missing=chosen["missing"])
        if chosen["output"] == "log_prob":
            return pd.DataFrame({"log_prob": values.sum(axis=1)})
        return pd.DataFrame(values, columns=self.density.columns)

    def score(self, given: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
        """The scored columns of all rows; [] where a row has no explanation."""
        rule = self.conformal.Rule.of(
            chosen["threshold"], chosen["fdr"], chosen["budget"]
        )
        options = self.scorer.ScoreOptions(
            statistic=chosen["statistic"],
            rule=rule,
            calibrate_by=chosen["calibrate_by"],
            min_segment_rows=chosen["min_segment_rows"],
            missing=chosen["missing"],
            explain=chosen["explain"],
            explain_columns=chosen["explain_columns"],
            column_log_prob=chosen["column_log_prob"],
        )
        scorer = self.scorer.Scorer(self.density, options)
        scored = scorer.score(to_arrow(given, self.density.encoder))
        place = scored.schema.get_field_index(EXPLANATION)
        told = scored.column(place)
        # Spark's conversion knows no missing list.
        told = pc.if_else(told.is_valid(), told, pa.scalar([], told.type))
        scored = scored.set_column(place, EXPLANATION, told)
        frame: pd.DataFrame = scored.to_pandas()
        return frame

    def impute(self, frame: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
        """The rows with their nulls filled."""
        encoder = self.density.encoder
        table = to_arrow(frame, encoder)
        for j, name in enumerate(encoder.names):
            if pa.types.is_null(table.schema.field(j).type):  # which holds no value
                values = table.column(j).cast(encoder.type_of(j))
                table = table.set_column(j, name, values)
        options = self.imputer.ImputeOptions(
            method=chosen["method"], details=chosen["details"]
        )
        imputer = self.imputer.Imputer(self.density, options)
        filled: pd.DataFrame = imputer.impute(table, seed=chosen["seed"]).to_pandas()
        return filled


@contextmanager
def own_code(folder: Path) -> Iterator[None]:
    """Imports of `PACKAGE` in the block take it from `folder`, and leave no trace.

    What another version, or this process, has imported under that name is put aside
    and back. The modules live on in what was made of them.
    """
    with LOADING:
        others = take_out()
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            take_out()
            sys.modules.update(others)


def take_out() -> dict[str, Any]:
    """Takes the modules of `PACKAGE` out of the imported ones."""
    names = [n for n in sys.modules if n.partition(".")[0] == PACKAGE]
    return {name: sys.modules.pop(name) for name in names}


def to_arrow(frame: pd.DataFrame, encoder: Any) -> pa.Table:  # of a version's own code
    """The columns of a DataFrame; NaN, NaT and None become nulls.

    But NaN stays NaN in columns that held NaN and no null in training: pandas has one
    sign for both. Types need not be those of training: the encoder reads any that hold
    the same values, such as the doubles that pandas makes of integers with nulls.
    Moments may be words, as in JSON.
    """
    columns = encoder.names
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(
            f"the columns {missing!r} are missing; given are {list(frame.columns)!r}, "
            f"needed are {columns!r}"
        )
    arrays = {}
    for j, column in enumerate(encoder.columns):
        name, seen = column.name, column.specials_seen
        null = "missing" in seen or "nan" not in seen
        try:
            array = pa.array(frame[name], from_pandas=null)
            arrays[name] = moments(array, encoder.type_of(j))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"column {name!r}: cannot be read as {column.type}, as it was in "
                f"training: {error}"
            ) from error
    return pa.table(arrays)


def moments(
    array: pa.Array | pa.ChunkedArray, type: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    """Words as the moments of `type`, where that is a type of those; others as given.

    ISO 8601, such as 2026-01-31, 2026-01-31T12:30:00 and 2026-01-31 12:30:00.5Z. What
    names no time zone is UTC where the type has one. Times are 12:30 or 12:30:00.5.
    """
    of = pa.types
    words = array.type.value_type if of.is_dictionary(array.type) else array.type
    in_words = of.is_string(words) or of.is_large_string(words)
    kinds = of.is_date, of.is_time, of.is_timestamp
    if not (in_words and any(is_kind(type) for is_kind in kinds)):
        return array
    text = array.cast(pa.string())
    if of.is_time(type):
        dated = pc.binary_join_element_wise("1970-01-01T", text, "")
        return dated.cast(pa.timestamp(type.unit)).cast(type)
    zoned = pc.any(pc.match_substring_regex(text, ZONE)).as_py()
    unit = type.unit if of.is_timestamp(type) else "us"
    return text.cast(pa.timestamp(unit, "UTC" if zoned else None))


set_model(DensityModel())
