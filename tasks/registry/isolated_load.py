"""Predictions of a logged model in a separate process that lacks this project."""

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

from tasks.evaluation.intervals import Floats
from tasks.registry import isolated_main

TIMEOUT_SECONDS = 1800.0
"""Time limit for loading and scoring, and for installing requirements, in seconds."""


def log_prob(uri: str, rows: pa.Table, *, clean: bool) -> Floats:
    """Return the log-probability of each row by a logged model, (n,), in nats.

    Args:
        uri: URI of the logged model, such as models:/NAME/VERSION.
        rows: Rows with the columns of the model.
        clean: As for `predict`.
    """
    predicted = predict(uri, rows, {"output": "log_prob"}, clean=clean)
    return np.asarray(predicted["log_prob"].to_numpy())


def predict(
    uri: str, rows: pa.Table, params: Mapping[str, Any], *, clean: bool
) -> pa.Table:
    """Return what a logged model predicts in a separate process.

    Args:
        uri: URI of the logged model, such as models:/NAME/VERSION.
        rows: Rows with the columns of the model.
        params: Params of the model's `predict`, JSON-able.
        clean: Whether to install the logged requirements, and nothing else, into a
            fresh virtual environment; else this environment is used, but imports of
            this project, Ray and Prefect fail.

    Raises:
        RuntimeError: The model does not load or predict there; the message says why.
    """
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        model = mlflow.artifacts.download_artifacts(uri, dst_path=str(home / "model"))
        python = fresh_environment(home, Path(model)) if clean else sys.executable
        source, target = home / "rows.parquet", home / "predictions.parquet"
        pq.write_table(rows, source)
        program = [python, "-I", isolated_main.__file__, model, source, target]
        options = ["--params", json.dumps(dict(params))]
        if not clean:
            options.append("--block-project")
        run([*map(str, program), *options], home)
        return pq.read_table(target)


def fresh_environment(home: Path, model: Path) -> str:
    """Create a virtual environment with the requirements of a model.

    Args:
        home: Directory below which it is created.
        model: Directory of the logged model.

    Returns:
        The path of its Python.
    """
    run([sys.executable, "-m", "venv", str(home / "venv")], home)
    python = str(home / "venv" / "bin" / "python")
    requirements = ["-r", str(model / "requirements.txt")]
    run([python, "-m", "pip", "install", "-q", *requirements], home)
    return python


def run(command: list[str], home: Path) -> None:
    """Run a command in `home`, without the import paths of this process.

    Args:
        command: Program and arguments.
        home: Working directory.

    Raises:
        RuntimeError: It failed, with the last line of its error output, or timed out.
    """
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        ended = subprocess.run(
            command,
            cwd=home,
            env=settings | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"timed out after {TIMEOUT_SECONDS:g} s") from error
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"exit code {ended.returncode}")
