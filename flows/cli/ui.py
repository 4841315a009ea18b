"""Serve the user interfaces of Prefect and MLflow on the local databases."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from flows.cli.console import CommandConsole

STARTUP_SECONDS = 120.0
"""Seconds within which a server must answer."""

PORTS = 100
"""Number of ports that are tried for a server."""


def serve(console: CommandConsole) -> None:
    """Serve Prefect and MLflow until one of the servers ends or Ctrl-C is pressed.

    Servers that the environment names are not started; only their address is shown.

    Raises:
        OSError: A server has ended or does not answer.
    """
    api, store = os.environ.get("PREFECT_API_URL"), os.environ["MLFLOW_TRACKING_URI"]
    running = {
        "Prefect": api and api.removesuffix("/api"),
        "MLflow": store if store.startswith("http") else None,
    }
    commands = {
        "Prefect": (4200, "/api/health", ["prefect", "server", "start"]),
        "MLflow": (
            5000,
            "/health",
            ["mlflow", "server", "--workers", "1", "--backend-store-uri", store],
        ),
    }
    servers: list[subprocess.Popen[bytes]] = []
    for name, (first, health, command) in commands.items():
        if url := running[name]:
            console.print_line(f"{name:<8} {url} (already running)")
            continue
        port = free_port(first)
        command += ["--host", "127.0.0.1", "--port", str(port)]
        servers.append(subprocess.Popen([sys.executable, "-m", *command]))
        wait_until_up(f"http://127.0.0.1:{port}{health}", servers[-1])
        console.print_line(f"{name:<8} http://127.0.0.1:{port}")
    if not servers:
        return
    console.print_line("Press Ctrl-C to stop.")
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise OSError("a server has ended; the log has its output")


def free_port(first: int) -> int:
    """Return the first port at or above a number that no local server listens on.

    Raises:
        OSError: None of the next `PORTS` ports is free.
    """
    for port in range(first, first + PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
            if attempt.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError(f"no free port from {first} to {first + PORTS - 1}")


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers.

    Args:
        url: Address that is requested.
        server: Process of the server.

    Raises:
        OSError: The server has ended or does not answer within `STARTUP_SECONDS`.
    """
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise OSError(f"{url} does not answer; the log has the output of the server")
