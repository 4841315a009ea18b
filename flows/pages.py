"""The pages of Prefect and MLflow, served from the embedded databases."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from flows.terminal import Terminal

STARTUP_SECONDS = 120.0


def serve(terminal: Terminal) -> None:
    """Serves both until one ends or Ctrl-C comes; servers of the user's are named only.

    Raises:
        OSError: A server ended or did not come up.
    """
    servers: list[subprocess.Popen[bytes]] = []
    if url := os.environ.get("PREFECT_API_URL"):
        terminal.say(f"Prefect  {url.removesuffix('/api')} (yours)")
    else:
        port = free_port(4200)
        place = ["--host", "127.0.0.1", "--port", str(port)]
        servers.append(start(["prefect", "server", "start", *place]))
        wait_until_up(f"http://127.0.0.1:{port}/api/health", servers[-1])
        terminal.say(f"Prefect  http://127.0.0.1:{port}")
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    if tracking.startswith("http"):
        terminal.say(f"MLflow   {tracking} (yours)")
    else:
        port = free_port(5000)
        place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        store = ["--backend-store-uri", tracking]
        servers.append(start(["mlflow", "server", *place, *store]))
        wait_until_up(f"http://127.0.0.1:{port}/health", servers[-1])
        terminal.say(f"MLflow   http://127.0.0.1:{port}")
    if not servers:
        return
    terminal.say("Ctrl-C ends both.")
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise OSError("a server ended by itself; see the log for what it said")


def start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a module's command line in a child."""
    return subprocess.Popen([sys.executable, "-m", *arguments])


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            if trial.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError(f"no free port from {first} to {first + 99}")


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    """Waits until `url` answers."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise OSError(f"{url} did not come up; see the log for what the server said")
