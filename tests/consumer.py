"""Loads a registered model as a stranger would, and says what it predicts.

Run with `python -I consumer.py MODEL ROWS SCORES [--block]`: MODEL is a logged model's
folder, ROWS a Parquet file, SCORES the Parquet file to write. With --block, importing
what a consumer does not have raises.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORBIDDEN = {"ray", "prefect", "tasks", "flows"}


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

    folder, rows, scores = sys.argv[1:4]
    model = mlflow.pyfunc.load_model(folder)
    import ar_models

    origin = str(ar_models.__path__[0])
    assert origin.startswith(folder), f"ar_models came from {origin}"
    frame = pd.read_parquet(rows)
    scored = model.predict(frame)
    scored.drop(columns="explanation").to_parquet(scores)
    drawn = model.predict(pd.DataFrame(), params={"output": "sample", "rows": 7})
    assert len(drawn) == 7
    assert not FORBIDDEN & set(sys.modules), FORBIDDEN & set(sys.modules)
    print(scored["explanation"][0][0]["expected"])


if __name__ == "__main__":
    main()
