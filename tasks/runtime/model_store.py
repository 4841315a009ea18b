"""Saved models: loading, identity, and whether they can read a dataset."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ar_models.density.saved_form import load_density
from ar_models.density.table_density import TableDensity
from tasks.runtime import cluster, manifest, storage


def load(model: str) -> TableDensity:
    """Load a saved density onto the device of this process.

    Args:
        model: Directory of the model, local or S3.

    Raises:
        FileNotFoundError: The directory lacks one of the files.
        ValueError: A file is damaged; the message names it.
    """
    if storage.exists(storage.join(model, manifest.MANIFEST)):
        manifest.read_finished(model)
    with tempfile.TemporaryDirectory() as copy:
        return load_density(storage.fetch(model, Path(copy)), cluster.device())


def fingerprint(density: TableDensity) -> str:
    """Return the hash of a saved density's description and weights."""
    return str(density.info["fingerprints"]["model"])


def describe(density: TableDensity, info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a manifest says about the model of a job.

    Args:
        density: The model.
        info: Its name, version, run id and so on, JSON-able; None if unregistered.
    """
    return {**(info or {}), "fingerprint": fingerprint(density)}


def check_readable(density: TableDensity, source: str, schema: pa.Schema) -> None:
    """Raise ValueError if the model cannot encode the rows of a dataset.

    Args:
        density: The model.
        source: Path of the dataset, for the message.
        schema: Columns of the dataset.
    """
    try:
        density.encoder.check(schema)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
