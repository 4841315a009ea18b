"""Arrow schemas as text, for JSON."""

import base64

import pyarrow as pa


def to_text(schema: pa.Schema) -> str:
    """Return the serialised schema in base 64."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def from_text(text: str) -> pa.Schema:
    """Return the schema that `to_text` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
