"""The code of a registered model; MLflow stores this file and runs it to load one.

It imports only what the model's requirements name, not this project's `tasks`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ar_models.density import TableDensity
from ar_models.encoder import TableEncoder


class DensityModel(PythonModel):
    """A `TableDensity` that takes and gives DataFrames."""

    def load_context(self, context: PythonModelContext) -> None:
        self.density = TableDensity.load(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """What the param `output` asks for.

        `score`: the scored columns, a row for each given one. `log_prob`: that column
        alone, in nats. `embed`: what the network makes of each row, a list of numbers.
        `sample`: as many new rows as the param `rows` says.
        """
        chosen = params or {}
        output = chosen["output"]
        if output == "sample":
            drawn = self.density.sample(
                chosen["rows"], seed=chosen["seed"], log_prob=chosen["log_prob"]
            )
            return drawn.to_pandas()
        table = to_arrow(model_input, self.density.encoder)
        if output == "log_prob":
            return pd.DataFrame({"log_prob": self.density.log_prob(table)})
        if output == "embed":
            return pd.DataFrame({"features": list(self.density.features(table))})
        if output != "score":
            raise ValueError(
                "output must be 'score', 'log_prob', 'embed' or 'sample', "
                f"got {output!r}"
            )
        scored = self.density.score(
            table,
            statistic=chosen["statistic"],
            threshold=chosen["threshold"],
            explain=chosen["explain"],
            explain_columns=chosen["explain_columns"],
            column_log_prob=chosen["column_log_prob"],
        )
        return scored.to_pandas()


def to_arrow(frame: pd.DataFrame, encoder: TableEncoder) -> pa.Table:
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
