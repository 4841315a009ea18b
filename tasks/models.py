"""Models in their folders."""

import tempfile
from pathlib import Path

from ar_models.density import TableDensity
from tasks import storage


def load(model: str) -> TableDensity:
    """The density in a folder, local or S3."""
    with tempfile.TemporaryDirectory() as copy:
        return TableDensity.load(storage.fetch(model, Path(copy)))


def fingerprint(density: TableDensity) -> str:
    """The hash of a saved density: of its description and weights."""
    return str(density.info["fingerprints"]["model"])
