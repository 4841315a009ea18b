"""A logged model, as its consumers find it: in a process that lacks this project."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import stranger
from tasks.intervals import Floats

PATIENCE = 1800.0
"""Seconds that loading and scoring, or the installation of requirements, may take."""


def log_probs(uri: str, rows: pa.Table, *, clean: bool) -> Floats:
    """The log-probability of each row by a logged model, (n,), nats; see `predict`."""
    found = predict(uri, rows, {"output": "log_prob"}, clean=clean)
    return np.asarray(found["log_prob"].to_numpy())


def predict(
    uri: str, rows: pa.Table, params: Mapping[str, Any], *, clean: bool
) -> pa.Table:
    """What a logged model predicts elsewhere.

    Args:
        uri: Of the logged model, such as models:/NAME/VERSION.
        rows: With the columns of the model.
        params: Of `predict`, JSON-able.
        clean: Whether to install the logged requirements, and nothing else, into a
            fresh virtual environment; else this one is used, without this project.

    Raises:
        RuntimeError: It does not load or predict there; the message says why.
    """
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        model = mlflow.artifacts.download_artifacts(uri, dst_path=str(home / "model"))
        python = fresh_environment(home, Path(model)) if clean else sys.executable
        pq.write_table(rows, home / "rows.parquet")
        found = home / "found.parquet"
        program = [python, "-I", stranger.__file__, model, home / "rows.parquet", found]
        options = [
            "--params",
            json.dumps(dict(params)),
            *([] if clean else ["--block"]),
        ]
        run([*map(str, program), *options], home)
        return pq.read_table(found)


def fresh_environment(home: Path, model: Path) -> str:
    """The Python of a new environment below `home` with a model's requirements."""
    run([sys.executable, "-m", "venv", str(home / "venv")], home)
    python = str(home / "venv" / "bin" / "python")
    requirements = ["-r", str(model / "requirements.txt")]
    run([python, "-m", "pip", "install", "-q", *requirements], home)
    return python


def run(command: list[str], home: Path) -> None:
    """Runs a command that knows nothing of the paths of this process."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        ended = subprocess.run(
            command,
            cwd=home,
            env=settings | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"took longer than {PATIENCE:g} s") from error
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"exit code {ended.returncode}")
