"""Files of a prepared dataset, and how they are read."""

import base64
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tasks.runtime import storage

ENCODER = "encoder.json"
PROFILE = "profile.json"
SCHEMA = "schema.json"

ENCODED = ("train", "valid")
"""Splits whose rows are also written in encoded form."""

Json = dict[str, Any]  # JSON values


def read_encoder(prepared: str) -> TableEncoder:
    """Read the encoder of a prepared dataset."""
    return TableEncoder.from_dict(storage.read_json(storage.join(prepared, ENCODER)))


def read_profile(prepared: str) -> Json:
    """Read the profile of a prepared dataset: rows per split, and its columns."""
    profile: Json = storage.read_json(storage.join(prepared, PROFILE))
    return profile


def read_schema(prepared: str) -> Json:
    """Read the description of the schema of a prepared dataset."""
    schema: Json = storage.read_json(storage.join(prepared, SCHEMA))
    return schema


def list_files(about: Mapping[str, Any], prefix: str) -> list[tuple[str, int]]:
    """List the files of a prepared dataset that are not empty, sorted by path.

    Args:
        about: Manifest of the dataset.
        prefix: Prefix of their relative paths, such as `encoded/train/`.

    Returns:
        The relative path and the number of rows of each file.
    """
    return sorted(
        (entry["path"], entry["rows"])
        for entry in about["files"]
        if entry["path"].startswith(prefix) and entry["rows"]
    )


def arrow_schema(description: Mapping[str, Any]) -> pa.Schema:
    """Return the schema that `describe_schema` described."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(description["arrow"])))


def describe_schema(schema: pa.Schema) -> Json:
    """Return a schema as JSON, readable and in Arrow's exact serialisation."""
    return {
        "columns": [
            {"name": f.name, "type": str(f.type), "nullable": f.nullable}
            for f in schema
        ],
        "arrow": base64.b64encode(schema.serialize().to_pybytes()).decode(),
    }
