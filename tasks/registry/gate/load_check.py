"""Check of the gate that the logged model loads and scores without this project."""

import logging
import time
from typing import Any

import mlflow
import numpy as np

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.evaluation import held_out
from tasks.evaluation.checks import Check, at_most
from tasks.registry import isolated_load

logger = logging.getLogger(__name__)

ROWS = 50
"""Number of rows that the logged model scores."""

TOLERANCE = 1e-3
"""Largest tolerated difference of log-probabilities, in nats; another build of torch
may compute slightly different ones."""

ENVIRONMENTS = {
    "process": "a process without this project",
    "clean": "a fresh environment with the logged requirements only",
}
"""Names of the environments for readers, by `gate.load_check`."""


def check_loads(
    density: TableDensity,
    logged: str | None,
    prepared: str,
    about: dict[str, Any],  # JSON values
    config: GateConfig,
) -> list[Check]:
    """Check that the logged model loads elsewhere and gives the same numbers.

    Args:
        density: The model.
        logged: URI of the model as logged to MLflow; None skips the check.
        prepared: Folder of the prepared dataset, whose test rows are scored.
        about: Its manifest.
        config: Says in which environment the model is loaded.
    """
    if logged is None or config.load_check == "none":
        return []
    file = held_out.list_test_files(prepared, about)[0]
    table = next(held_out.read_batches(file.path, density.columns)).slice(0, ROWS)
    environment = ENVIRONMENTS[config.load_check]
    began = time.monotonic()
    try:
        log_prob = isolated_load.log_prob(
            logged, table, clean=config.load_check == "clean"
        )
    except (RuntimeError, mlflow.MlflowException) as error:
        return [Check("load", 0, False, f"does not load in {environment}: {error}")]
    logger.info("gate: loaded and scored in %.0f s", time.monotonic() - began)
    difference = float(np.abs(log_prob - density.log_prob(table)).max())
    remark = (
        f"log-probabilities in {environment} differ by at most {difference:.1e} nats"
    )
    return [at_most("load", difference, TOLERANCE, remark)]
