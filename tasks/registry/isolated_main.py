"""Program that loads a logged model and predicts, run in a separate process.

    python -I isolated_main.py MODEL ROWS OUTPUT [--params JSON] [--block-project]

MODEL is the directory of a logged model, ROWS a Parquet file. The predictions with the
params are written to OUTPUT, a Parquet file; by default they are the log-probabilities
of the rows. With --block-project, imports of this project, Ray and Prefect fail.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

BLOCKED = ("flows", "prefect", "ray", "tasks")
"""Top-level packages that a process which only loads a model need not have."""


class ImportBlocker(MetaPathFinder):
    """Import hook that raises ImportError for the packages in `BLOCKED`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in BLOCKED:
            raise ImportError(f"a registered model must not import {fullname}")
        return None


def main() -> None:
    """Load the model, predict, and write the predictions."""
    parser = argparse.ArgumentParser()
    for name in ("model", "rows", "output"):
        parser.add_argument(name)
    parser.add_argument("--params", type=json.loads, default={"output": "log_prob"})
    parser.add_argument("--block-project", action="store_true")
    arguments = parser.parse_args()
    if arguments.block_project:
        sys.meta_path.insert(0, ImportBlocker())
    import pandas as pd
    from mlflow import pyfunc

    model = pyfunc.load_model(arguments.model)
    check_code_origin(model, arguments.model)
    # Arrow's types: pandas' default ones store nulls as NaN.
    frame = pd.read_parquet(arguments.rows, dtype_backend="pyarrow")
    predictions = model.predict(frame, params=arguments.params)
    predictions.to_parquet(arguments.output)


def check_code_origin(model: object, folder: str) -> None:
    """Raise an ImportError unless a model runs the code that was logged with it.

    Args:
        model: The loaded pyfunc model.
        folder: Directory of the logged model.
    """
    density = model.unwrap_python_model().density  # type: ignore[attr-defined]
    origin = type(density).column_log_prob.__code__.co_filename
    if not origin.startswith(folder):
        raise ImportError(f"the model's code came from {origin}, not from {folder}")


if __name__ == "__main__":
    main()
