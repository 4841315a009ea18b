"""Tests of the schema of MLflow's embedded database."""

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.registry import database


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with the schema and one experiment."""
    path = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    database.prepare_database(f"sqlite:///{path}")
    MlflowClient(f"sqlite:///{path}").create_experiment("kept")
    return path


@pytest.fixture
def path(fresh: Path, tmp_path: Path) -> Path:
    """Return a copy of the database."""
    return Path(shutil.copy(fresh, tmp_path / "mlflow.db"))


def experiments(path: Path) -> set[str]:
    """Return the names of the experiments in a database, as MLflow reads them."""
    found = MlflowClient(f"sqlite:///{path}").search_experiments()
    return {each.name for each in found}


def change(path: Path, *statements: str) -> None:
    """Change a database by statements of SQL."""
    with database.open_database(path) as opened:
        for statement in statements:
            opened.execute(statement)
        opened.commit()


def test_a_new_database_has_the_schema_and_nothing_else_lies_beside_it(
    fresh: Path,
) -> None:
    assert database.is_current(fresh)
    names = {each.name for each in fresh.parent.iterdir()}
    assert names <= {fresh.name, f"{fresh.name}.lock", "mlflow.db-wal", "mlflow.db-shm"}


def test_a_current_database_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "migrate", lambda path: pytest.fail("migrated"))
    database.prepare_database(f"sqlite:///{path}")


def test_what_an_interrupted_migration_left_is_removed(path: Path) -> None:
    # As in "table _alembic_tmp_runs already exists": the last step is done again.
    change(
        path,
        "PRAGMA user_version = 0",
        "CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)",
    )
    database.prepare_database(f"sqlite:///{path}")
    assert database.is_current(path)
    assert "kept" in experiments(path)
    with database.open_database(path) as opened:
        names = opened.execute("SELECT name FROM sqlite_master").fetchall()
    assert not [name for (name,) in names if name.startswith("_alembic_tmp")]


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(path, "PRAGMA user_version = 0")
    before = path.read_bytes()

    def fail(copy: Path) -> None:
        change(copy, "CREATE TABLE half (a INT)")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database, "update_schema", fail)
    with pytest.raises(OSError, match=f"{re.escape(str(path))}: no space left"):
        database.prepare_database(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".tmp-*"))
    monkeypatch.undo()
    database.prepare_database(f"sqlite:///{path}")
    assert "kept" in experiments(path)


def test_copies_of_killed_processes_are_removed(path: Path) -> None:
    change(path, "PRAGMA user_version = 0")
    left = path.with_name(f".tmp-0-{path.name}")
    left.write_text("unfinished")
    database.prepare_database(f"sqlite:///{path}")
    assert not left.exists()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\0" * 4096])
def test_a_file_that_is_no_database_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"{re.escape(str(path))}: "):
        database.prepare_database(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_server_has_a_database_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "migrate", lambda path: pytest.fail("migrated"))
    database.prepare_database("http://tracking:5000")
