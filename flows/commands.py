"""The flows behind the commands."""

from collections.abc import Callable
from typing import Any

from flows import batch, calibrate, retrain, tune

FLOWS: dict[str, Callable[..., Any]] = {
    "prepare": retrain.prepare,
    "train": retrain.train,
    "evaluate": retrain.evaluate,
    "retrain": retrain.retrain,
    "tune": tune.tune,
    "calibrate": calibrate.calibrate,
    "score": batch.score,
    "backfill": batch.backfill,
    "monitor": batch.monitor,
    "compare": batch.compare,
    "sample": batch.sample,
    "embed": batch.embed,
    "impute": batch.impute,
}
"""Functions to run as a flow, by the name of their command."""
