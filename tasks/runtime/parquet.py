"""Parquet files of ours: with checksums of their pages, and sealed where asked.

A sealed file holds the SHA-256 of all of its own bytes in its footer, in place of which
zeros are hashed. A part of an unfinished job, which no manifest describes yet, is thus
proof of itself.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.runtime import storage

METADATA_KEY = b"chainrule"
"""Key of the footer's metadata that holds metadata of ours as JSON."""

SEAL_KEY = b"chainrule.sha256"
"""Key of the footer's metadata that holds the seal."""

DIGITS = 64
"""Number of hexadecimal digits of a seal."""

# Thrift's compact protocol: field 2 is a string, of as many bytes.
_MARK = SEAL_KEY + b"\x18" + bytes([DIGITS])
_ZEROS = b"0" * DIGITS
_CHUNK = 1 << 20


def write(path: Path, table: pa.Table, *, compression: str = "zstd") -> None:
    """Write a table to a local file of one row group, with checksums of the pages.

    Args:
        path: Path of the file.
        table: The rows.
        compression: Codec of the columns.
    """
    with _writer(path, table.schema, compression) as writer:
        writer.write_table(table, row_group_size=max(1, table.num_rows))


def write_sealed(
    path: Path,
    table: pa.Table,
    metadata: Mapping[bytes, str],
    *,
    compression: str = "zstd",
) -> str:
    """Write a table with metadata and a seal; return the SHA-256 of the file.

    Args:
        path: Path of the local file.
        table: The rows.
        metadata: Metadata of the footer, in place of the table's own.
        compression: Codec of the columns.
    """
    table = table.replace_schema_metadata(dict(metadata))
    with _writer(path, table.schema, compression) as writer:
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        writer.add_key_value_metadata({SEAL_KEY.decode(): _ZEROS.decode()})
    place = _place_of_seal(str(path))
    assert place is not None, "the file was written with a place for the seal"
    sealed, digest, rest = _hash(str(path), place)
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(sealed.encode())
    digest.update(sealed.encode())
    digest.update(rest)
    return digest.hexdigest()


def sealed_checksum(path: str) -> str | None:
    """Return the SHA-256 of a sealed file, or None if the seal does not fit.

    Args:
        path: Path of the file, local or S3.
    """
    place = _place_of_seal(path)
    if place is None:
        return None
    expected, digest, rest = _hash(path, place)
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as file:
        found = file.read_at(DIGITS, place)
    if found != expected.encode():
        return None
    digest.update(found)
    digest.update(rest)
    return digest.hexdigest()


def _writer(path: Path, schema: pa.Schema, compression: str) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path, schema, compression=compression, write_page_checksum=True
    )


def _place_of_seal(path: str) -> int | None:
    """Return the position of a file's seal, or None if there is none."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as file:
        size = file.size()
        if size < 12:
            return None
        length = int.from_bytes(file.read_at(8, size - 8)[:4], "little") + 8
        if length > size:
            return None
        footer = file.read_at(length, size - length)
    found = footer.rfind(_MARK)
    return None if found < 0 else size - length + found + len(_MARK)


def _hash(path: str, place: int) -> tuple[str, "hashlib._Hash", bytes]:
    """Hash a file with zeros in place of its seal.

    Returns:
        The hash in hexadecimal digits, the state of hashing before the seal, and the
        bytes after it.
    """
    filesystem, inner = storage.resolve(path)
    before = hashlib.sha256()
    with filesystem.open_input_stream(inner) as file:
        left = place
        while left and (chunk := file.read(min(_CHUNK, left))):
            before.update(chunk)
            left -= len(chunk)
        file.read(DIGITS)
        rest = file.read()
    whole = before.copy()
    whole.update(_ZEROS)
    whole.update(rest)
    return whole.hexdigest(), before, rest


def read_footer(path: str) -> pq.FileMetaData | None:
    """Return the footer of a Parquet file, or None if it is damaged."""
    filesystem, inner = storage.resolve(path)
    try:
        with filesystem.open_input_file(inner) as file:
            return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        # Errors of the operating system have a number, those of S3 name AWS.
        if getattr(error, "errno", None) is not None or "AWS Error" in str(error):
            raise
        return None


def read_metadata(footer: pq.FileMetaData) -> dict[str, Any] | None:
    """Return the metadata of ours in a footer, or None if there is none."""
    content = (footer.metadata or {}).get(METADATA_KEY)
    try:
        metadata = json.loads(content) if content else None
    except ValueError:
        return None
    return metadata if isinstance(metadata, dict) else None
