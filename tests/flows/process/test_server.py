"""Tests of the embedded Prefect server: when it is started, and when it migrates."""

import os
import sqlite3
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from prefect.server.database.alembic_commands import alembic_config

from flows.process import server

HOME = Path("/state/prefect")


def set_revision(database: Path, revision: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])
    connection.close()


def test_the_newest_revision_is_that_of_prefect() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    # As Prefect's own env.py does, for the dialect of the database.
    scripts.version_locations = [str(Path(scripts.dir) / "versions" / "sqlite")]
    assert server.newest_revision() == scripts.get_current_head()


def test_only_a_database_of_the_newest_revision_is_not_migrated(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    assert not server.is_newest(database)
    sqlite3.connect(database).close()
    assert not server.is_newest(database)
    set_revision(database, "an older one")
    assert not server.is_newest(database)
    set_revision(database, server.newest_revision())
    assert server.is_newest(database)


def test_a_new_database_is_migrated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    started: list[str] = []
    popen = server.subprocess.Popen

    def start(command: list[str], env: dict[str, str]) -> object:
        started.append(env[server.MIGRATE])
        return popen(command, env=env)

    monkeypatch.setattr(server.subprocess, "Popen", start)
    for migrate in ("true", "false"):
        embedded = server.EmbeddedServer(tmp_path / "prefect", tmp_path / "a.lock")
        try:
            embedded.wait(600)
            assert embedded.answers()
        finally:
            embedded.stop()
        assert started.pop() == migrate
        assert server.is_newest(tmp_path / "prefect" / "prefect.db")
        assert not embedded.answers()


@pytest.mark.parametrize(
    ("variables", "configured"),
    [
        ({}, False),
        ({"PREFECT_API_URL": "http://prefect:4200/api"}, True),
        ({"PREFECT_HOME": "/home/me/.prefect"}, True),
        ({"PREFECT_PROFILE": "cloud"}, True),
        ({"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://db"}, True),
        ({"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}, True),
        ({"PREFECT_LOGGING_LEVEL": "DEBUG"}, False),
    ],
)
def test_settings_of_the_user_win(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    configured: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert server.is_configured({"PREFECT_HOME": str(HOME), **variables}, HOME) == (
        configured
    )


@pytest.mark.parametrize(
    ("name", "text", "configured"),
    [
        ("prefect.toml", "[api]", True),
        ("pyproject.toml", "[tool.prefect.api]", True),
        ("pyproject.toml", "[project]\ndependencies = ['prefect']", False),
        (".env", "PREFECT_API_URL=http://prefect:4200/api", True),
        (".env", "OTHER=1", False),
    ],
)
def test_files_with_settings_of_prefect_win(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    configured: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    assert server.is_configured({"PREFECT_HOME": str(HOME)}, HOME) == configured


def test_nothing_is_started_where_a_server_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    server.start(str(tmp_path))
    assert not (tmp_path / "prefect").exists()
    assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
