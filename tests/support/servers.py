"""Servers for `make test-stack`: PostgreSQL, S3, MLflow, Prefect and Ray nodes.

They write below one folder and listen on free ports of the loopback interface.
"""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from flows.process import reaper
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]

ADMIN, READER = "chainrule", "reader"
PASSWORD = "as-long-as-MLflow-asks-for"

STARTUP = 120.0
"""Maximum duration of a server's start on a busy machine, in seconds."""

GRACE = 20.0
"""Seconds that servers have to end after SIGTERM before they are killed."""

LIMIT = 600.0
"""Maximum duration of a flow run or a command on a busy machine, in seconds."""

Found = TypeVar("Found")


class Stack:
    """Servers and the environment variables that point `chainrule` at them.

    Attributes:
        folder: Directory of all files that the servers write.
        environment: Environment variables that a user of the servers would set.
        servers: Processes of the servers by name.
        address: Address at which all servers but PostgreSQL listen.
        nodes: Names of the Ray nodes beside the head.
    """

    address = "127.0.0.1"
    nodes: tuple[str, ...] = ("node",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = f"STACK_TEST={uuid.uuid4().hex}"
        names = ("postgres", "s3", "mlflow", "prefect", "ray")
        self.ports = {name: free_port() for name in names}
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = self.settings()
        for name in ("work", "home"):
            (folder / name).mkdir()

    def settings(self) -> dict[str, str]:
        """Return the environment variables that infra/README.md names."""
        key, value = self.marker.split("=")
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "LANG", "TZ")}
        return {
            **kept,
            key: value,
            "HOME": str(self.folder / "home"),
            "USER": "tester",
            "PYTHONPATH": str(ROOT),
            # Many processes share few processors.
            "OMP_NUM_THREADS": "1",
            "PREFECT_API_URL": f"{self.url('prefect')}/api",
            "MLFLOW_TRACKING_URI": self.url("mlflow"),
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "RAY_ADDRESS": f"{self.address}:{self.ports['ray']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
            "AWS_ENDPOINT_URL": self.url("s3"),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHAINRULE_STORAGE": "s3://chainrule",
        }

    def url(self, name: str) -> str:
        """Return the URL of a server."""
        return f"http://{self.address}:{self.ports[name]}"

    # --- starting and ending ----------------------------------------------------------

    def start(self) -> None:
        """Start all servers except the worker and wait until they answer."""
        self.start_postgres()
        self.start_s3()
        client = f"--ray-client-server-port={free_port()}"
        port = f"--port={self.ports['ray']}"
        self.start_ray("head", "--head", port, client, "--include-dashboard=false")
        self.start_prefect()
        self.wait("s3", f"{self.url('s3')}/moto-api/")
        self.make_buckets()
        self.start_mlflow()
        for name in self.nodes:
            self.start_ray(name, f"--address={self.environment['RAY_ADDRESS']}")
        self.wait("prefect", f"{self.url('prefect')}/api/health")
        self.wait("mlflow", f"{self.url('mlflow')}/health")

    def end(self) -> None:
        """End all processes that were started and their children, PostgreSQL last."""
        database = self.servers.pop("postgres", None)
        for name in reversed(list(self.servers)):
            self.servers[name].send_signal(signal.SIGTERM)

        def others() -> set[int]:
            return self.left() - (self.family(database.pid) if database else set())

        until(lambda: not others(), GRACE, or_not=True)
        reaper.send_signal(others(), signal.SIGKILL)
        if database:
            database.send_signal(signal.SIGINT)  # It ends without waiting for clients.
            database.wait(timeout=GRACE)
        for process in self.servers.values():
            process.wait(timeout=GRACE)
        assert until(lambda: not self.left(), GRACE, or_not=True), self.left()

    def left(self) -> set[int]:
        """Return the ids of running processes that this stack has started."""
        variable, value = self.marker.split("=")
        return reaper.marked_processes(value, variable)

    def family(self, first: int) -> set[int]:
        """Return the ids of a running process and of its descendants."""
        children = psutil.Process(first).children(recursive=True)
        return {first, *(child.pid for child in children)}

    def launch(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        """Start a server whose output goes to a file of its name."""
        with open(self.folder / f"{name}.log", "ab") as log:
            self.servers[name] = subprocess.Popen(
                command,
                env=self.environment | (environment or {}),
                cwd=self.folder if user else self.folder / "work",
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=user,
            )

    def wait(self, name: str, url: str) -> None:
        """Wait until a server answers."""

        def answers() -> bool:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(url, timeout=5).close()
                return True
            return False

        self.wait_until_up(name, answers)

    def wait_until_up(self, name: str, is_up: Callable[[], bool]) -> None:
        """Wait until a server has started, and fail if it ends."""

        def running_and_up() -> bool:
            code = self.servers[name].poll()
            assert code is None, f"{name} ended with {code}: {self.log(name)}"
            return is_up()

        assert until(running_and_up, STARTUP, or_not=True), f"{name}: {self.log(name)}"

    def log(self, name: str) -> str:
        """Return the last lines of a server's output."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-5000:]

    # --- the servers ------------------------------------------------------------------

    def start_s3(self) -> None:
        """Start the S3 server, which keeps everything in memory."""
        port = str(self.ports["s3"])
        self.launch("s3", [*python("moto.server"), "-H", self.address, "-p", port])

    def start_postgres(self) -> None:
        """Start PostgreSQL as another user than root, with a database per server."""
        programs = postgres_programs()
        user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        other = user if os.getuid() == 0 else None
        data = self.folder / "postgres"
        data.mkdir(mode=0o700)
        if other:
            shutil.chown(data, other)
        subprocess.run(
            [f"{programs}/initdb", "-D", str(data), "-U", ADMIN, "--auth=trust", "-N"],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            user=other,
        )
        settings = {
            "port": self.ports["postgres"],
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        command = [f"{programs}/postgres", "-D", str(data), *options]
        self.launch("postgres", command, user=other)
        where = ["-h", "127.0.0.1", "-p", str(self.ports["postgres"])]
        ready = self.beside_servers([f"{programs}/pg_isready", "-q", *where])
        self.wait_until_up("postgres", lambda: subprocess.run(ready).returncode == 0)
        for database in ("mlflow", "auth", "prefect"):
            create = [f"{programs}/createdb", *where, "-U", ADMIN, database]
            subprocess.run(self.beside_servers(create), check=True)

    def beside_servers(self, command: list[str]) -> list[str]:
        """Return the command that runs another one on the host of the servers."""
        return command

    def database(self, name: str, driver: str = "postgresql") -> str:
        """Return the URL of a database."""
        return f"{driver}://{ADMIN}@127.0.0.1:{self.ports['postgres']}/{name}"

    def make_buckets(self) -> None:
        """Create the buckets of infra/compose.yaml and one for data."""
        import pyarrow.fs as pafs

        s3 = pafs.S3FileSystem(
            endpoint_override=self.url("s3"),
            access_key=self.environment["AWS_ACCESS_KEY_ID"],
            secret_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            allow_bucket_creation=True,
        )
        for bucket in ("chainrule", "mlflow", "data"):
            s3.create_dir(bucket)
        self.s3 = s3

    def start_mlflow(self) -> None:
        """Start MLflow with accounts on PostgreSQL and artifacts on S3."""
        settings = self.folder / "mlflow-auth.ini"
        settings.write_text(
            "[mlflow]\n"
            "default_permission = READ\n"
            f"database_uri = {self.database('auth')}\n"
            f"admin_username = {ADMIN}\n"
            "authorization_function = "
            "mlflow.server.auth:authenticate_request_basic_auth\n"
            "auth_cache_ttl_seconds = 60\n"
        )
        command = [
            *(*python("mlflow"), "server", "--app-name=basic-auth"),
            *(f"--host={self.address}", f"--port={self.ports['mlflow']}"),
            "--workers=1",
            f"--backend-store-uri={self.database('mlflow')}",
            "--artifacts-destination=s3://mlflow",
        ]
        secrets = {
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": uuid.uuid4().hex,
            "MLFLOW_S3_ENDPOINT_URL": self.url("s3"),
        }
        self.launch("mlflow", command, secrets)

    def start_prefect(self) -> None:
        """Start the Prefect server, or start it again after it was killed."""
        place = ["--host", self.address, "--port", str(self.ports["prefect"])]
        self.launch(
            "prefect",
            [*python("prefect"), "server", "start", *place],
            {
                "PREFECT_HOME": str(self.folder / "prefect-server"),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database(
                    "prefect", "postgresql+asyncpg"
                ),
            },
        )

    def start_worker(self) -> None:
        """Start a process worker for the pool that `chainrule deploy` has made."""
        self.launch(
            "worker",
            [*python("prefect"), "worker", "start", "--pool", "chainrule"],
            {
                "PREFECT_HOME": str(self.folder / "prefect-worker"),
                "PREFECT_WORKER_QUERY_SECONDS": "2",
            },
        )

    def start_ray(self, name: str, *options: str) -> None:
        """Start a Ray node with a folder of its own."""
        command = [
            *(*python("ray.scripts.scripts"), "start", "--block"),
            *("--disable-usage-stats", "--dashboard-agent-listen-port=0"),
            *("--min-worker-port=0", "--max-worker-port=0"),
            *self.node_options(name),
        ]
        self.launch(name, [*command, *options])
        self.wait_until_up(name, lambda: "Ray runtime started" in self.log(name))

    def node_options(self, name: str) -> list[str]:
        """Return the options that give a Ray node its address, folder and size."""
        folder = self.folder / name
        folder.mkdir()
        return [
            *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            *("--num-cpus=2", "--object-store-memory=200000000"),
        ]

    # --- requests and flow runs ------------------------------------------------------

    def chainrule(
        self,
        *arguments: str,
        code: int = 0,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a command that ends with an exit code and return its JSON."""
        done = subprocess.run(
            [*python("flows.cli"), *arguments, "--json"],
            env=self.environment | (environment or {}),
            cwd=self.folder / "work",
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def prefect(self, path: str, body: Any = None) -> Any:  # JSON
        """Send a request to the API of Prefect, a POST if there is a body."""
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def deployment(self, full: str) -> dict[str, Any]:
        """Return a deployment by its full name."""
        found: dict[str, Any] = self.prefect(f"deployments/name/{full}")
        return found

    def runs(self, full: str) -> list[dict[str, Any]]:
        """Return the flow runs of a deployment, the latest start first."""
        there = {"id": {"any_": [self.deployment(full)["id"]]}}
        found: list[dict[str, Any]] = self.prefect(
            "flow_runs/filter", {"deployments": there, "sort": "START_TIME_DESC"}
        )
        return found

    def begin(self, full: str) -> str:
        """Start a deployment now and return the id of the flow run."""
        deployment = self.deployment(full)["id"]
        run = self.prefect(f"deployments/{deployment}/create_flow_run", {})
        return str(run["id"])

    def result(self, run: str) -> dict[str, Any]:
        """Wait until a flow run has ended and return its final state."""

        def ended() -> dict[str, Any] | None:
            state: dict[str, Any] = self.prefect(f"flow_runs/{run}")["state"]
            return state if state["type"] in FINAL else None

        state = until(ended, LIMIT)
        assert state is not None
        return state

    def say(self, run: str) -> str:
        """Return the log of a flow run and its tasks, for messages of failed tests."""
        lines = self.prefect(
            "logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        )
        return "\n".join(line["message"] for line in lines)[-5000:]


FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def python(module: str) -> list[str]:
    """Return the command that runs a module as a script."""
    return [sys.executable, "-m", module]


def until(
    found: Callable[[], Found], seconds: float, *, or_not: bool = False
) -> Found | None:
    """Call a function until it returns a true value and return that.

    Args:
        found: The function.
        seconds: Maximum duration.
        or_not: Return None instead of raising an error.

    Raises:
        TimeoutError: No call returned a true value.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.3)
    if or_not:
        return None
    raise TimeoutError(f"nothing came in {seconds} s")


def postgres_programs() -> Path:
    """Return the directory of the programs of the newest PostgreSQL."""
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if there:
        return there[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError(
            "no PostgreSQL server; install it, on Debian and Ubuntu by "
            "`apt-get install postgresql`"
        )
    return Path(found).parent


@contextlib.contextmanager
def running() -> Iterator[Stack]:
    """Run all servers except the worker until the end of the block."""
    # The name is short, since Ray puts Unix sockets below it; PostgreSQL, which runs
    # as another user, has to get there.
    folder = Path(tempfile.mkdtemp(prefix="cs-"))
    folder.chmod(0o711)
    stack = Stack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.end()
        shutil.rmtree(folder)
