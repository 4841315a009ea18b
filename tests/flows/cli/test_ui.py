"""Tests of serving the user interfaces."""

import io
import socket
import subprocess
import sys

import pytest
from rich.console import Console

from flows.cli import ui
from flows.cli.console import CommandConsole


def test_servers_of_the_user_are_named_and_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    console = CommandConsole()
    stream = io.StringIO()
    console.console = Console(file=stream)
    ui.serve(console)
    assert stream.getvalue().splitlines() == [
        "Prefect  http://prefect:4200 (already running)",
        "MLflow   http://mlflow:5000 (already running)",
    ]


def test_a_port_in_use_is_passed_over() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert ui.free_port(port) > port


def test_a_server_that_ends_is_an_error() -> None:
    server = subprocess.Popen([sys.executable, "-c", "pass"])
    server.wait()
    with pytest.raises(OSError, match="does not answer"):
        ui.wait_until_up("http://127.0.0.1:1/health", server)
