"""The servers of `tests.support.servers` and Ray nodes on hosts of their own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.hosts import ADDRESSES, Host, Network
from tests.support.ports import free_port
from tests.support.servers import GRACE, LIMIT, Stack, python, until

SERVERS = "servers"
"""Host of PostgreSQL, S3, MLflow, Prefect and the head of the Ray cluster."""

NODES = ("one", "two", "three")
"""Hosts of Ray nodes with one CPU each."""

DRIVER = "driver"
"""Host of a Ray node without CPUs, on which commands run."""

OBJECT_STORE = 120_000_000
"""Bytes of shared memory of a Ray node."""


class ClusterStack(Stack):
    """Servers and Ray nodes that share nothing with each other but the network.

    Attributes:
        network: The hosts.
    """

    address = f"{ADDRESSES}.1"
    nodes = ("one", DRIVER)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = Network(folder, (SERVERS, *NODES, DRIVER))

    def start(self) -> None:
        self.network.start(SERVERS, apart=False)
        super().start()

    def end(self) -> None:
        self.network.end()
        for process in self.servers.values():
            process.wait(timeout=GRACE)
        assert until(lambda: not self.left(), GRACE, or_not=True), self.left()

    # --- hosts ------------------------------------------------------------------------

    def host(self, server: str) -> Host:
        """Return the host of a server, which is that of its own name or `SERVERS`."""
        return self.network.hosts.get(server, self.network.hosts[SERVERS])

    def beside_servers(self, command: list[str]) -> list[str]:
        return self.host(SERVERS).inside(command)

    def launch(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        super().launch(
            name,
            self.host(name).inside(["env", "-C", self.work(name), *command], user),
            (environment or {}) | self.own_files(name),
        )

    def work(self, server: str) -> str:
        """Return the working directory of a server, as its host sees it."""
        if server in self.network.hosts:
            return "/tmp/work"
        return str(self.folder / ("" if server == "postgres" else "work"))

    def own_files(self, server: str) -> dict[str, str]:
        """Return the environment variables for files on the host of a server."""
        return {"HOME": "/tmp/home"} if server in self.network.hosts else {}

    def start_s3(self) -> None:
        """Start the S3 server, and before it what can be ended without its data."""
        behind = str(free_port())
        self.launch("s3-data", [*python("moto.server"), "-H127.0.0.1", "-p", behind])
        self.behind = behind
        self.start_entrance()

    def start_entrance(self) -> None:
        """Start the process that clients of S3 connect to."""
        where = [self.address, str(self.ports["s3"]), self.behind]
        self.launch("s3", [*python("tests.support.forwarder"), *where])

    def end_server(self, name: str) -> None:
        """Kill a server with SIGKILL."""
        pids = self.family(self.servers[name].pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.servers[name].wait(timeout=GRACE)

    # --- nodes of Ray -----------------------------------------------------------------

    def start_ray(self, name: str, *options: str) -> None:
        """Start a Ray node on a host of its own, which is started as well."""
        if name in (*NODES, DRIVER):
            self.network.start(name)
        super().start_ray(name, *options)

    def node_options(self, name: str) -> list[str]:
        host = self.host(name)
        folder = "/tmp/ray" if name in self.network.hosts else self.folder / name
        return [
            f"--node-ip-address={host.address}",
            f"--temp-dir={folder}",
            f"--num-cpus={int(name in NODES)}",
            f"--object-store-memory={OBJECT_STORE}",
        ]

    def kill(self, name: str) -> None:
        """End all processes of a host with a Ray node at once."""
        self.network.hosts[name].kill()
        self.servers.pop(name).wait(timeout=GRACE)

    def join(self, name: str) -> None:
        """Start a host with a Ray node that joins the cluster."""
        self.start_ray(name, f"--address={self.environment['RAY_ADDRESS']}")

    # --- commands ---------------------------------------------------------------------

    def write(self, host: str, name: str, content: str) -> None:
        """Write a file to the working directory of a host."""
        (self.network.hosts[host].folder / "work" / name).write_text(content)

    def begin_command(
        self, host: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> "Command":
        """Start a command on a host."""
        return Command(self, host, arguments, environment or {})


class Command:
    """A command that runs on a host.

    Attributes:
        process: Its process, or the parent of that.
        arguments: Its arguments.
    """

    def __init__(
        self,
        stack: ClusterStack,
        host: str,
        arguments: Sequence[str],
        environment: dict[str, str],
    ) -> None:
        self.arguments = arguments
        self.output = stack.folder / f"command-{uuid.uuid4().hex}.json"
        self.log = self.output.with_suffix(".log")
        command = [*python("flows.cli"), *arguments, "--json"]
        with open(self.output, "wb") as output, open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                stack.host(host).inside(["env", "-C", stack.work(host), *command]),
                env=stack.environment | stack.own_files(host) | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )

    def result(self, code: int = 0) -> dict[str, Any]:  # JSON
        """Wait until the command has ended with an exit code and return its JSON."""
        found = self.process.wait(timeout=LIMIT)
        assert found == code, (self.arguments, found, self.log.read_text()[-5000:])
        content: dict[str, Any] = json.loads(self.output.read_text())
        return content

    def is_running(self) -> bool:
        """Return whether the command has not ended."""
        return self.process.poll() is None


@contextmanager
def running_cluster() -> Iterator[ClusterStack]:
    """Run servers and Ray nodes on hosts until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="cc-"))
    folder.chmod(0o711)
    stack = ClusterStack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.end()
        shutil.rmtree(folder)
