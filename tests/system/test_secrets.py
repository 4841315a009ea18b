"""Secrets in the environment and the configuration, in nothing that commands leave."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.ports import free_port
from tests.support.project import Project
from tests.support.receiver import Receiver, receiving

pytestmark = pytest.mark.slow

PATIENCE = 300.0
"""Seconds that a command may take on a busy machine."""

PLANTED = (
    "MLFLOW_TRACKING_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PREFECT_API_KEY",
    "DATABASE_PASSWORD",
)
"""Environment variables that hold a secret each."""


def secret() -> str:
    return uuid.uuid4().hex


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """Run an MLflow server with its files in a folder."""
    folder.mkdir()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1"),
        *(f"--port={port}", "--workers=1"),
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        f"--artifacts-destination={folder}/artifacts",
    ]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short path, which the sockets of Ray need."""
    found = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))
    yield found
    shutil.rmtree(found)


def places(folder: Path, secrets: dict[str, str], skipped: Path) -> set[str]:
    """Return which secrets are in which files below a folder."""
    found = set()
    for path in folder.rglob("*"):
        if path == skipped or not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        found |= {
            f"{name} in {path.relative_to(folder)}"
            for name, value in secrets.items()
            if value.encode() in content
        }
    return found


def test_no_secret_is_in_a_result_a_log_or_a_message(folder: Path) -> None:
    port, secrets = free_port(), {name: secret() for name in PLANTED}
    secrets |= {name: secret() for name in ("user info", "webhook path", "webhook")}
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    kept = {n: v for n, v in os.environ.items() if n in ("PATH", "LANG", "PYTHONPATH")}
    environment = {
        **kept,
        **{name: secrets[name] for name in PLANTED},
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PREFECT_HOME": str(folder / "home" / "prefect"),
        "OMP_NUM_THREADS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_TRACKING_URI": (
            f"http://operator:{secrets['user info']}@127.0.0.1:{port}"
        ),
    }
    project = Project(folder)

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = [str(Path(sys.executable).with_name("chainrule")), command]
        ended = subprocess.run(
            [*program, str(project.file), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        name = f"{command}-{len(list(folder.glob('*.out')))}.out"
        (folder / name).write_text(ended.stdout + ended.stderr)
        return ended

    def plant(receiver: Receiver) -> None:
        url = f"{receiver.url}/{secrets['webhook path']}?token={secrets['webhook']}"
        project.content["alerts"] = {"webhook": url}
        project.content["score"]["budget"] = 3
        project.file.write_text(yaml.safe_dump(project.content))

    with receiving() as receiver:
        plant(receiver)
        with mlflow_server(folder / "mlflow", port):
            ended = run("retrain")
            assert ended.returncode == 0, ended.stderr
            receiver.statuses = [403] * 5
            ended = run("score", "--json")
            assert ended.returncode == 0, ended.stderr
            assert receiver.got
        ended = run("score", "--overwrite", "--set", "score.budget=4")
        assert ended.returncode == 1
        assert "MLflow" in ended.stderr
    assert places(folder, secrets, project.file) == set()
