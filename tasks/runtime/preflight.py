"""Checks before work: storage, servers, free space, paths, rights and versions.

Each ends within `DEADLINE_SECONDS` and says what to do where it fails. A command stops
at those that fail; `chainrule doctor` shows all of them.
"""

import base64
import os
import re
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from tasks.runtime import environment, storage
from tasks.runtime.failures import remote_remedy, system_message
from tasks.runtime.patience import within
from tasks.runtime.redaction import redact

DEADLINE_SECONDS = 10.0
"""Seconds that a check may take."""

MIN_FREE_BYTES = 200 * 2**20
"""Space that databases, logs and the files of a small job need."""

SPACE_PER_INPUT_BYTE = 3
"""Bytes that results and unfinished files need per byte of the dataset, roughly."""

Finding = tuple[bool, str]
"""Outcome of one check: whether it passed, and its finding with the remedy if not."""


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Attributes:
        name: What was checked.
        passed: Whether work can begin.
        message: What was found; what to do, where it failed.
        seconds: Seconds that the check took.
    """

    name: str
    passed: bool
    message: str
    seconds: float


def run_checks(
    root: str, dataset: str | None = None, *, versions: bool = True
) -> tuple[Check, ...]:
    """Return the outcome of all checks that apply here, run at the same time.

    Args:
        root: Root of all results, local or S3.
        dataset: Path of the dataset, if one is to be read.
        versions: Whether to check the installed packages, too.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "paths": lambda: check_paths(root),
        "storage": lambda: check_storage(root),
        "free space": lambda: check_space(root, dataset),
        "MLflow": check_mlflow,
        "Prefect": check_prefect,
        "Ray": check_ray,
    }
    if dataset is not None:
        checks["dataset"] = lambda: check_dataset(dataset)
    if versions:
        checks["versions"] = check_versions
    with ThreadPoolExecutor(len(checks)) as pool:
        return tuple(pool.map(lambda item: run_check(*item), checks.items()))


def require(root: str) -> None:
    """Raise OSError if work cannot begin; the message has a sentence per reason.

    Other versions of packages than required are no reason: they may work.

    Args:
        root: Root of all results, local or S3.
    """
    checks = run_checks(root, versions=False)
    failed = [each for each in checks if not each.passed]
    if failed:
        raise OSError("; ".join(f"{each.name}: {each.message}" for each in failed))


def run_check(name: str, function: Callable[[], Finding]) -> Check:
    """Run one check within the deadline.

    Args:
        name: What is checked.
        function: The check; an error that it raises about the system is a failure.
    """
    began = time.monotonic()
    try:
        passed, message = within(DEADLINE_SECONDS, function)
    except (OSError, ValueError) as error:
        passed, message = False, system_message(error)
    return Check(name, passed, redact(message), round(time.monotonic() - began, 3))


def check_paths(root: str) -> Finding:
    """Check whether databases can lie below the storage."""
    environment.check_root(root)
    return True, f"local state is in {environment.local_root(root)}"


def check_storage(root: str) -> Finding:
    """Check whether files can be written, read and deleted below the storage."""
    path = storage.join(root, f"{storage.TEMPORARY}{uuid.uuid4().hex}")
    try:
        storage.write_json(path, "chainrule")
        storage.read_json(path)
        storage.delete(path)
    except TimeoutError:
        raise
    except OSError as error:
        if "://" not in root:
            raise
        return False, f"{root}: {first_line(error)}{remote_remedy(root)}"
    return True, f"{root} can be written"


def check_space(root: str, dataset: str | None) -> Finding:
    """Check whether local disks have room for state, unfinished files and results."""
    folders = {environment.local_root(root), Path(tempfile.gettempdir())}
    needed = MIN_FREE_BYTES
    if dataset is not None and "://" not in root:
        needed += SPACE_PER_INPUT_BYTE * dataset_bytes(dataset)
    found = {}
    for folder in sorted(folders):
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        found[folder] = shutil.disk_usage(existing).free
    for folder, free in found.items():
        if free < needed:
            return False, (
                f"{folder}: {free / 2**20:,.0f} MiB are free, and about "
                f"{needed / 2**20:,.0f} MiB are needed; free some space, or choose "
                "another --storage (TMPDIR for temporary files)"
            )
    return True, f"{min(found.values()) / 2**30:,.1f} GiB are free"


def dataset_bytes(dataset: str) -> int:
    """Return the size of a dataset, 0 if it is a pattern or absent."""
    try:
        filesystem, inner = storage.resolve(dataset)
        if filesystem.get_file_info(inner).is_file:
            return storage.file_size(dataset)
        return sum(storage.file_sizes(dataset).values())
    except OSError:
        return 0


def check_dataset(dataset: str) -> Finding:
    """Check whether the directory before the first wildcard of a dataset exists."""
    fixed = re.split(r"[*?\[]", dataset)[0]
    place = fixed if fixed == dataset else fixed.rpartition("/")[0] or "."
    if not storage.exists(place):
        return False, f"{place}: there is no such file or directory; see data.path"
    return True, f"{dataset} can be read"


def check_mlflow() -> Finding:
    """Check whether the MLflow server answers, if one is set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("http"):
        return True, "embedded, with a database in the storage"
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    return answers(
        "MLFLOW_TRACKING_URI",
        uri,
        path,
        authorization(token, f"{user}:{password}" if user else None),
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )


def check_prefect() -> Finding:
    """Check whether the Prefect server answers, if one is set."""
    uri = os.environ.get("PREFECT_API_URL", "")
    if uri == os.environ.get(environment.EMBEDDED_SERVER):
        uri = ""  # It may still be starting, and is waited for later.
    if not uri:
        return True, "embedded, with a database in the storage"
    key = os.environ.get("PREFECT_API_KEY")
    pair = os.environ.get("PREFECT_API_AUTH_STRING")
    return answers(
        "PREFECT_API_URL",
        uri,
        "/health",
        authorization(key, pair),
        "PREFECT_API_KEY or PREFECT_API_AUTH_STRING",
    )


def authorization(token: str | None, pair: str | None) -> dict[str, str]:
    """Return the header of a request that proves who asks.

    Args:
        token: A bearer token.
        pair: User name and password, with a colon between them.
    """
    if token:
        return {"Authorization": f"Bearer {token}"}
    if pair:
        encoded = base64.b64encode(pair.encode()).decode()
        return {"Authorization": f"Basic {encoded}"}
    return {}


def answers(
    variable: str, uri: str, path: str, headers: dict[str, str], credentials: str
) -> Finding:
    """Check whether a server answers a request.

    Args:
        variable: Environment variable with the address of the server.
        uri: Address of the server.
        path: Path of the request below it.
        headers: Headers of the request.
        credentials: Environment variables that say who asks, for the message.
    """
    parts = urlsplit(uri)
    base = uri
    if parts.username is not None:
        pair = f"{parts.username}:{parts.password or ''}"
        headers = authorization(None, pair) | headers
        base = uri.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
    request = urllib.request.Request(base.rstrip("/") + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS - 1):
            return True, f"{uri} answers"
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return False, f"{variable} is {uri}, which refuses us; set {credentials}"
        return False, (
            f"{variable} is {uri}, which answers {error.code} {error.reason} to "
            f"{path.partition('?')[0]}; check the address and the server's log"
        )
    except (OSError, ValueError) as error:
        return False, (
            f"{variable} is {uri}, where no server answers ({first_line(error)}); "
            f"start it, or unset {variable} to work without one"
        )


def check_ray() -> Finding:
    """Check whether something listens at the address of Ray, if one is set."""
    address = os.environ.get("RAY_ADDRESS", "local")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True, "started on this machine" if address == "local" else address
    try:
        socket.create_connection(
            (host.strip("[]"), int(port)), DEADLINE_SECONDS - 1
        ).close()
    except OSError as error:
        return False, (
            f"RAY_ADDRESS is {address}, where nothing listens ({first_line(error)}); "
            "start the cluster, or unset RAY_ADDRESS to use this machine"
        )
    return True, f"something listens at {address}"


def check_versions() -> Finding:
    """Check whether installed packages satisfy the requirements of this one."""
    wrong = []
    for text in metadata.requires("chainrule") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found == "missing" or not requirement.specifier.contains(found, True):
            wrong.append(f"{requirement.name}{requirement.specifier} ({found})")
    if wrong:
        names = ", ".join(wrong)
        return False, f"these packages are needed: {names}; install chainrule again"
    return True, f"chainrule {metadata.version('chainrule')}, all packages fit"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if it has none."""
    reason = getattr(error, "reason", None)  # of urllib's errors
    text = str(reason if reason is not None else error).strip()
    return text.splitlines()[0] if text else type(error).__name__
