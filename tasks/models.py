"""Models in their folders."""

import tempfile
from pathlib import Path

import pyarrow as pa

from ar_models.density import TableDensity
from tasks import cluster, storage


def load(model: str) -> TableDensity:
    """The density in a folder, local or S3, on the device of this process."""
    with tempfile.TemporaryDirectory() as copy:
        return TableDensity.load(storage.fetch(model, Path(copy)), cluster.device())


def fingerprint(density: TableDensity) -> str:
    """The hash of a saved density: of its description and weights."""
    return str(density.info["fingerprints"]["model"])


def check_readable(density: TableDensity, source: str, schema: pa.Schema) -> None:
    """Raises ValueError, which names the source, where a model cannot read its rows."""
    try:
        density.encoder.check(schema)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
