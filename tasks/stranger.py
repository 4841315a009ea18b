"""Loads a logged model as a stranger would; a program of its own.

    python -I stranger.py MODEL ROWS OUTPUT [--block]

MODEL is the folder of a logged model, ROWS a Parquet file. The log-probability of each
row goes to OUTPUT, a Parquet file. With --block, importing what a consumer does not
have raises.
"""

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
    """Scores the rows."""
    if "--block" in sys.argv:
        sys.meta_path.insert(0, Blocker())
    import mlflow
    import pandas as pd

    folder, rows, output = sys.argv[1:4]
    model = mlflow.pyfunc.load_model(folder)
    # Arrow's own types: the usual ones take a NaN for a null.
    frame = pd.read_parquet(rows, dtype_backend="pyarrow")
    model.predict(frame, params={"output": "log_prob"}).to_parquet(output)


if __name__ == "__main__":
    main()
