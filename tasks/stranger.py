"""Uses a logged model as a stranger would; a program of its own.

    python -I stranger.py MODEL ROWS OUTPUT [--params JSON] [--block]

MODEL is the folder of a logged model, ROWS a Parquet file. What the model predicts with
the params goes to OUTPUT, a Parquet file; the log-probability of each row if none are
given. With --block, importing what a consumer does not have raises.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORBIDDEN = ("flows", "prefect", "ray", "tasks")


class Blocker(MetaPathFinder):
    """Refuses what stands in this project's environment only."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"a consumer has no {fullname}")
        return None


def main() -> None:
    """Predicts, and writes what came out."""
    parser = argparse.ArgumentParser()
    for name in ("model", "rows", "output"):
        parser.add_argument(name)
    parser.add_argument("--params", type=json.loads, default={"output": "log_prob"})
    parser.add_argument("--block", action="store_true")
    given = parser.parse_args()
    if given.block:
        sys.meta_path.insert(0, Blocker())
    import pandas as pd
    from mlflow import pyfunc

    model = pyfunc.load_model(given.model)
    check_origin(model, given.model)
    # Arrow's own types: the usual ones take a NaN for a null.
    frame = pd.read_parquet(given.rows, dtype_backend="pyarrow")
    model.predict(frame, params=given.params).to_parquet(given.output)


def check_origin(model: object, folder: str) -> None:
    """Raises ImportError where a model's code is not what was logged with it."""
    density = model.unwrap_python_model().density  # type: ignore[attr-defined]
    origin = type(density).load.__code__.co_filename
    if not origin.startswith(folder):
        raise ImportError(f"the model's code came from {origin}, not from {folder}")


if __name__ == "__main__":
    main()
