"""The embedded Prefect server of a command, started while the command imports.

Prefect would start the same server when its client is first used, and import it into
this process for that. Here it starts before anything that takes time is imported, its
schema is migrated only if it is not the newest one, and blocks, which an embedded
server does not offer, are not registered.
"""

import atexit
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from tasks.runtime import environment, locks
from tasks.runtime.failures import AGAIN, ClusterError
from tasks.runtime.spans import span

ADDRESS = "PREFECT_API_URL"
"""Environment variable with the address of the API of a Prefect server."""

POLL_SECONDS = 0.05
"""Seconds between two attempts to reach a server that is starting."""

STOP_SECONDS = 5.0
"""Seconds that the server has to end after SIGTERM."""

ENVIRONMENT = {
    # As Prefect starts it: without the pages and without the services for schedules.
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # The record of registered blocks costs more than their registration.
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""Settings of the server's process."""

TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
"""Environment variable with the seconds that the server may take to start."""

MIGRATE = "PREFECT_API_DATABASE_MIGRATE_ON_START"
"""Setting whether the server migrates its database when it starts."""


def is_configured(environment: Mapping[str, str], home: Path) -> bool:
    """Return whether the user has chosen a Prefect server, or may have.

    Args:
        environment: Environment variables.
        home: Default directory of Prefect's state.
    """
    names = (ADDRESS, "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")
    own = (
        Path(environment["PREFECT_HOME"]) != home
        or any(name in environment for name in names)
        or any(name.startswith("PREFECT_SERVER_DATABASE") for name in environment)
        or any(name.startswith("PREFECT_API_DATABASE") for name in environment)
        or any(name.endswith("_EPHEMERAL_MODE") for name in environment)
        or any(name.endswith("EPHEMERAL_ENABLED") for name in environment)
    )
    files = {
        home / "profiles.toml": "",
        Path("prefect.toml"): "",
        Path("pyproject.toml"): "[tool.prefect",
        Path(".env"): "PREFECT_",
    }
    return own or any(
        path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace")
        for path, mark in files.items()
    )


def newest_revision() -> str:
    """Return the newest revision of the schema of Prefect's SQLite database.

    It is read from the names and headers of Prefect's migrations, since to load them
    all takes longer than to start the server.

    Raises:
        RuntimeError: The migrations have no single last one.
    """
    spec = find_spec("prefect")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "server/database/_migrations/versions/sqlite"
    revisions: set[str] = set()
    replaced: set[str] = set()
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        revisions.update(re.findall(r'^revision.*?= ["\'](\w+)', text, re.MULTILINE))
        replaced.update(
            re.findall(r'^down_revision.*?= ["\'](\w+)', text, re.MULTILINE)
        )
    newest = revisions - replaced
    if len(newest) != 1:
        raise RuntimeError(f"{folder}: {len(newest)} last migrations, expected one")
    return newest.pop()


def is_newest(database: Path) -> bool:
    """Return whether a SQLite database of Prefect has the newest revision."""
    if not database.exists():
        return False
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError:  # such as a database that was never migrated
        return False
    finally:
        connection.close()
    return found == [(newest_revision(),)]


def describe_code(code: int) -> str:
    """Return how a process has ended: the name of a signal, or its exit code."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class EmbeddedServer:
    """The process of a Prefect server that serves one command.

    Attributes:
        url: Address of its API.
        process: Its process.
        lock: Descriptor of the lock that is held until its database is migrated; None
            if there is nothing to migrate.
    """

    def __init__(self, home: Path, lock: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(parents=True, exist_ok=True)
        self.lock: int | None = None
        database = home / "prefect.db"
        if not is_newest(database):
            # Two processes would both migrate the schema of a new database.
            self.lock = locks.acquire(lock, wait=True)
        migrate = self.lock is not None and not is_newest(database)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "uvicorn", "--factory"),
                "prefect.server.api.server:create_app",
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--log-level", "error", "--lifespan", "on"),
            ],
            env=os.environ | ENVIRONMENT | {MIGRATE: str(migrate).lower()},
        )
        atexit.register(self.stop)

    def wait(self, seconds: float) -> None:
        """Wait until the server answers, and let other commands migrate from then on.

        Args:
            seconds: Maximum time to wait.

        Raises:
            ClusterError: The server has ended, or does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self.answers():
            code = self.process.poll()
            if code is not None:
                raise ClusterError(
                    f"the Prefect server of this command has ended before it answered "
                    f"({describe_code(code)}); {AGAIN}"
                )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the Prefect server of this command did not start in {seconds:g} "
                    f"s; {AGAIN}, or set {ADDRESS} to a server that runs"
                )
            time.sleep(POLL_SECONDS)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def answers(self) -> bool:
        """Return whether the server answers that it is healthy."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def stop(self) -> None:
        """End the server, by SIGKILL if it takes longer than `STOP_SECONDS`."""
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


RUNNING: list[EmbeddedServer] = []
"""The server of this process, if it has started one."""


def start(storage: str) -> None:
    """Start the embedded server of a command, unless the user has chosen a server.

    Call this after `environment.configure` and before the first import of prefect,
    which reads the address of the server from the environment.

    Args:
        storage: Root of all results, local or S3.
    """
    root = environment.local_root(storage)
    if not is_configured(os.environ, root / "prefect"):
        server = EmbeddedServer(root / "prefect", root / "locks" / "server.lock")
        os.environ[ADDRESS] = os.environ[environment.EMBEDDED_SERVER] = server.url
        RUNNING.append(server)


def wait() -> None:
    """Wait until the embedded server, if there is one, answers.

    Raises:
        ClusterError: It has ended, or does not answer in time.
    """
    for server in RUNNING:
        with span("wait for Prefect's server"):
            server.wait(float(os.environ[TIMEOUT]))
