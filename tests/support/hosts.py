"""Hosts for `make check-cluster`: namespaces of one machine, each with its own address.

A host has its own network, processes, name, `/tmp` and `/dev/shm`, and sees the rest of
the machine's files, such as the installed packages, read-only. Killing it is a power
cut: all its processes end at once, and nobody says goodbye to its peers.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.servers import until

ADDRESSES = f"10.77.{os.getpid() % 250}"
"""First three numbers of the addresses; other processes make other networks."""

PROGRAMS = ("ip", "unshare", "nsenter")
"""Programs of iproute2 and util-linux."""

READY_SECONDS = 20.0
"""Maximum duration of the start of a host."""

INIT = """
set -e
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount -t tmpfs -o size=400m none /dev/shm
if [ "$3" = apart ]; then
  mount --bind "$2/$1" /tmp
  mount -o remount,bind,ro /
fi
touch "$4"
# Bash collects the exit codes of processes whose parents have ended.
while :; do sleep 3600 & wait $!; done
"""
"""First process of a host; its arguments are the host's name, the folder of all hosts,
whether the host has files of its own, and a file to make when it is ready."""


def reason_not_to() -> str | None:
    """Return why no hosts can be made on this machine, or None if they can."""
    if os.getuid() != 0:
        return "needs root, which alone may make network namespaces"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}: install iproute2 and util-linux"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"],
        capture_output=True,
        text=True,
    )
    return f"needs namespaces: {tried.stderr.strip()}" if tried.returncode else None


def ip(command: str) -> None:
    """Run a command of iproute2."""
    subprocess.run(["ip", *command.split()], check=True)


class Host:
    """A host of a network.

    Args:
        network: The network.
        name: Name of the host, with which other hosts find its address.
        apart: Whether it has a `/tmp` of its own and cannot write elsewhere.

    Attributes:
        address: Its address.
        folder: What is `/tmp` on it, seen from outside.
        process: Parent of its first process; when it is killed, the host dies.
        first: Id of its first process.
    """

    def __init__(self, network: "Network", name: str, *, apart: bool) -> None:
        self.address = network.address(name)
        self.link = f"{network.bridge}-{self.address.rpartition('.')[2]}"
        self.folder = network.folder / name
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in ("work", "home"):
            (self.folder / folder).mkdir(parents=True)
        self.folder.chmod(0o1777)
        ready = self.folder / "ready"
        files = ("apart", "/tmp/ready") if apart else ("beside", str(ready))
        self.process = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork"),
                *("--kill-child", "--mount-proc"),
                *("bash", "-c", INIT, "bash", name, str(network.folder), *files),
            ],
            env={"PATH": os.environ["PATH"]},
            start_new_session=True,
        )
        assert until(ready.exists, READY_SECONDS, or_not=True), f"{name} is not ready"
        (child,) = psutil.Process(self.process.pid).children()
        self.first = child.pid
        ip(f"link add {self.link} type veth peer name eth0 netns {self.first}")
        ip(f"link set {self.link} master {network.bridge} up")
        run = ["nsenter", "-t", str(self.first), "-n", "ip"]
        address = ["addr", "add", f"{self.address}/24", "dev", "eth0"]
        for command in (["link", "set", "lo", "up"], address):
            subprocess.run([*run, *command], check=True)
        subprocess.run([*run, "link", "set", "eth0", "up"], check=True)

    def inside(self, command: Sequence[str], user: str | None = None) -> list[str]:
        """Return the command that runs another one on the host."""
        enter = ["nsenter", "-t", str(self.first), "-n", "-m", "-u", "-i", "-p"]
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*enter, *(as_user if user else []), *command]

    def kill(self) -> None:
        """End all processes of the host at once."""
        self.process.kill()
        self.process.wait()

    def plug(self, up: bool) -> None:
        """Connect the host to the network or cut it off, which it does not notice."""
        ip(f"link set {self.link} {'up' if up else 'down'}")


class Network:
    """Hosts that reach each other, and are reached from this machine.

    Args:
        folder: Folder of all files of the hosts.
        names: Names of all hosts that there will be.

    Attributes:
        bridge: Name of the network's device.
        hosts: The hosts by name.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names
        self.bridge = f"cr{uuid.uuid4().hex[:6]}"
        self.hosts: dict[str, Host] = {}
        lines = [f"{self.address(name)} {name}\n" for name in names]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        ip(f"link add {self.bridge} type bridge")
        ip(f"addr add {ADDRESSES}.254/24 dev {self.bridge}")
        ip(f"link set {self.bridge} up")

    def address(self, name: str) -> str:
        """Return the address of a host."""
        return f"{ADDRESSES}.{self.names.index(name) + 1}"

    def start(self, name: str, *, apart: bool = True) -> Host:
        """Start a host, which may have been killed before."""
        self.hosts[name] = Host(self, name, apart=apart)
        return self.hosts[name]

    def end(self) -> None:
        """Kill all hosts and remove the network."""
        for host in self.hosts.values():
            host.kill()
        ip(f"link del {self.bridge}")
