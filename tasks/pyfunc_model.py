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
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

PACKAGE = "ar_models"
"""What a version brings along in its folder `code`."""

OUTPUTS = ("score", "log_prob", "column_log_prob", "sample", "embed")

ROWS = 65_536
"""Rows that are worked on at a time, so that memory is bounded by what comes out."""

LOADING = threading.Lock()


class DensityModel(PythonModel):
    """A `TableDensity` that takes and gives DataFrames."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        with own_code(folder.parents[1] / "code"):
            density = import_module(f"{PACKAGE}.density")
        self.density: Any = density.TableDensity.load(folder)  # of that version's code

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
        numbers. `sample`: as many new rows as the param `rows` says.
        """
        chosen = params or {}
        output = chosen["output"]
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}")
        if output == "sample":
            drawn: pd.DataFrame = self.density.sample(
                chosen["rows"], seed=chosen["seed"], log_prob=chosen["log_prob"]
            ).to_pandas()
            return drawn
        if output == "score":
            return self.score(model_input, chosen)
        starts = range(0, max(1, len(model_input)), ROWS)
        parts = [self.tell(model_input.iloc[k : k + ROWS], output) for k in starts]
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def tell(self, frame: pd.DataFrame, output: str) -> pd.DataFrame:
        """What the model says of some rows, each by itself."""
        table = to_arrow(frame, self.density.encoder)
        if output == "log_prob":
            return pd.DataFrame({"log_prob": self.density.log_prob(table)})
        if output == "column_log_prob":
            values = self.density.column_log_prob(table)
            return pd.DataFrame(values, columns=self.density.columns)
        return pd.DataFrame({"features": list(self.density.features(table))})

    def score(self, frame: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
        """The scored columns of all rows."""
        scored: pd.DataFrame = self.density.score(
            to_arrow(frame, self.density.encoder),
            statistic=chosen["statistic"],
            threshold=chosen["threshold"],
            fdr=chosen["fdr"],
            budget=chosen["budget"],
            calibrate_by=chosen["calibrate_by"],
            segment_rows=chosen["segment_rows"],
            explain=chosen["explain"],
            explain_columns=chosen["explain_columns"],
            column_log_prob=chosen["column_log_prob"],
        ).to_pandas()
        return scored


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
    """
    columns = encoder.names
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(
            f"the columns {missing!r} are missing; given are {list(frame.columns)!r}, "
            f"needed are {columns!r}"
        )
    arrays = {}
    for column in encoder.columns:
        name, seen = column.name, column.specials_seen
        null = "missing" in seen or "nan" not in seen
        try:
            arrays[name] = pa.array(frame[name], from_pandas=null)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"column {name!r}: holds mixed types: {error}") from error
    return pa.table(arrays)


set_model(DensityModel())
