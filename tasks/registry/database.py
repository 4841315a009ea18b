"""The embedded database of MLflow: its schema is made on a copy, which is then renamed.

A migration is not a transaction in SQLite: one that is interrupted, by a full disk or a
kill, leaves tables with which the next one fails for good.
"""

import contextlib
import os
import sqlite3
import uuid
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tasks.runtime import locks, storage

PREFIX = "sqlite:///"
"""Start of the tracking URI of an embedded database."""

UNFINISHED = "_alembic_tmp_"
"""Prefix of the tables that an interrupted migration leaves behind."""


def prepare_database(uri: str) -> None:
    """Create or update the schema of an embedded database; nothing for a server.

    Args:
        uri: Tracking URI of MLflow.

    Raises:
        OSError: The disk is full, the directory may not be written, or the file is no
            database.
    """
    path = Path(uri.removeprefix(PREFIX))
    if not uri.startswith(PREFIX) or is_current(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = locks.acquire(path.with_name(f"{path.name}.lock"), wait=True)
    try:
        if not is_current(path):
            migrate(path)
    finally:
        os.close(lock)


def schema_mark() -> int:
    """Return the number that a database has whose schema is that of this MLflow."""
    return zlib.crc32(metadata.version("mlflow").encode()) & 0x7FFFFFFF


def is_current(path: Path) -> bool:
    """Return whether a database exists and has the schema of this MLflow."""
    if not path.is_file():
        return False
    with contextlib.suppress(sqlite3.DatabaseError), open_database(path) as database:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        return bool(found == schema_mark())
    return False


@contextlib.contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database and close it at the end of the block."""
    database = sqlite3.connect(path, timeout=30)
    try:
        yield database
    finally:
        database.close()


def migrate(path: Path) -> None:
    """Bring a copy of a database up to date, and put it in the place of the database.

    Args:
        path: File of the database, which may not exist yet.
    """
    for left in path.parent.glob(f"{storage.TEMPORARY}*-{path.name}*"):
        left.unlink()  # by a process that was killed; we hold the lock
    copy = path.with_name(f"{storage.TEMPORARY}{uuid.uuid4().hex}-{path.name}")
    try:
        if path.exists():
            copy_database(path, copy)
        update_schema(copy)
        with open_database(copy) as database:
            database.execute(f"PRAGMA user_version = {schema_mark()}")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.replace(copy, path)
    except Exception as error:
        raise explained(error, path) from error
    finally:
        for left in path.parent.glob(f"{copy.name}*"):
            left.unlink()


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database without the tables of an interrupted migration.

    Args:
        path: The database.
        copy: File for the copy.
    """
    with open_database(path) as source, open_database(copy) as target:
        source.backup(target)
        names = target.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?",
            (f"{UNFINISHED}*",),
        ).fetchall()
        for (name,) in names:
            target.execute(f'DROP TABLE "{name}"')
        target.commit()


def update_schema(path: Path) -> None:
    """Create the tables of MLflow in a database, or update them."""
    # Imports MLflow's stores and Alembic, which takes seconds.
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(f"{PREFIX}{path}")
    try:
        if utils._is_empty_database(engine):
            utils._initialize_tables(engine)
        else:
            utils._upgrade_db(engine)
    finally:
        engine.dispose()


def explained(error: Exception, path: Path) -> OSError:
    """Return the error to raise for a failed migration, with its remedy.

    Args:
        error: The error.
        path: File of the database, which is as it was before.
    """
    text = str(error)
    if "disk is full" in text or getattr(error, "errno", None) in storage.NO_SPACE:
        return OSError(
            f"{path}: no space left to create or update MLflow's database; free some "
            "and give the same command again"
        )
    if "file is not a database" in text or "malformed" in text:
        return OSError(
            f"{path}: damaged, no database; move it away or restore a copy: versions "
            "and runs are lost with it, results and models on the storage are not"
        )
    return OSError(
        f"{path}: MLflow's database cannot be updated and is left as it is: "
        f"{text.strip().splitlines()[0] if text.strip() else type(error).__name__}"
    )
