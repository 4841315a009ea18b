"""Environment variables to set before Prefect, Ray and MLflow are imported."""

import os
import secrets
from pathlib import Path

PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "8"}
"""Retries that wait eight minutes, not one, for a Prefect server that is down."""


EMBEDDED_SERVER = "CHAINRULE_EMBEDDED_SERVER"
"""Environment variable: API of the Prefect server that a command has started itself."""

UNSUITABLE = "?#%'\""
"""Characters that the path of an embedded database may not have."""

MAX_ROOT_BYTES = 400
"""Maximum length of the path of the local state."""


QUIET_MLFLOW = {
    # MLflow honours "true" only, not "1".
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its handlers write to stderr; without them, records go to the root logger.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would print the tracking URI with its password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings with which MLflow reports nothing to others and prints nothing itself."""


def local_root(storage: str) -> Path:
    """Return the local directory of embedded databases and server state.

    Args:
        storage: Root of all results; if remote, the directory is `.chainrule`.
    """
    return Path(".chainrule" if "://" in storage else storage).absolute()


def check_root(storage: str) -> None:
    """Raise ValueError if embedded databases cannot lie below the storage.

    Their paths become part of URLs and of SQL, where some characters would have another
    meaning.

    Args:
        storage: Root of all results, local or S3.
    """
    root = str(local_root(storage))
    if {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"} <= os.environ.keys():
        return
    found = [c for c in root if c in UNSUITABLE or not c.isprintable()]
    if found:
        raise ValueError(
            f"{root!r}: the databases of Prefect and MLflow cannot have a path with "
            f"the character {found[0]!r}; choose another --storage, or set "
            "PREFECT_API_URL and MLFLOW_TRACKING_URI to servers"
        )
    if len(root.encode()) > MAX_ROOT_BYTES:
        raise ValueError(
            f"{root}: this path has {len(root.encode())} bytes, and the files below it "
            f"need the rest of what the system allows; choose a --storage of at most "
            f"{MAX_ROOT_BYTES} bytes"
        )


def configure(storage: str) -> None:
    """Set the environment variables that the user has not set.

    Telemetry is off, and embedded databases of Prefect and MLflow are in `local_root`.
    Call this before the first import of prefect, ray or mlflow.

    Args:
        storage: Root of all results, local or S3.
    """
    root = local_root(storage)
    defaults = {
        **PATIENT,
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Startup takes 6 s on an idle machine, and much longer on a busy one.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        # Some of our threads log outside of a flow run.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        **QUIET_MLFLOW,
        # A server that is down is given a minute, where MLflow's own settings would
        # take ten; one that is silent is asked again.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default Ray runs its workers at niceness 15 and itself at 0, so that it
        # interrupts training, whose threads wait for each other.
        "RAY_worker_niceness": "0",
        # By default a task that runs out of memory is retried forever.
        "RAY_task_oom_retries": "3",
        # OpenMP threads that wait for each other spin for microseconds only. Spinning
        # forever costs eight times the work on a busy machine; not spinning makes
        # training steps take 1.6 times as long on an idle one.
        "GOMP_SPINCOUNT": "2000",
        # In bytes: memory that a step frees is reused by the next one. By default the C
        # library returns it to the system, at thousands of page faults per step.
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
        # `ray.train.report` can block for this long; the default is 2 s.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        # Ray Tune would write files for every trial, and print tables to stdout.
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    if "RAY_ADDRESS" not in os.environ:
        # A local Ray listens on all network interfaces and runs what it is sent, so its
        # processes share a secret. Ray would write its own to the user's home.
        defaults["RAY_AUTH_MODE"] = "token"
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # A local Ray gets no preemption notices.
        defaults["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
