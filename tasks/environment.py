"""Environment defaults that must stand before Prefect, Ray and MLflow are imported."""

import os
from pathlib import Path

PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "8"}
"""Waits eight minutes, not one, for a Prefect server that has died under a run."""


def local_root(storage: str) -> Path:
    """The folder of embedded state: `storage`, or `.chainrule` when that is remote."""
    return Path(".chainrule" if "://" in storage else storage).absolute()


def configure(storage: str) -> None:
    """Sets what the user has not set: telemetry off, state below `storage`.

    Call it before the first import of prefect, ray or mlflow. A user's own setting
    always wins. Embedded state (Prefect's database, MLflow's, its artifacts) lives in
    the local folder `storage`, or in `.chainrule` when `storage` is remote.
    """
    root = local_root(storage)
    defaults = {
        **PATIENT,
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # 6 s on an idle machine; nights are busy.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        # Threads of ours that log are in no flow run.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # MLflow honours "true" only, not "1".
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Its handlers write to stderr; without them records go to the root logger.
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray runs its workers at 15 and itself at 0: then whatever it does interrupts
        # training, whose threads wait for each other.
        "RAY_worker_niceness": "0",
        # Without it a task that runs out of memory is repeated for ever.
        "RAY_task_oom_retries": "3",
        # Threads that wait for each other spin for microseconds only. Measured where
        # processors are shared, as at night: for ever costs eight times the work; on an
        # idle machine: not at all makes training steps take 1.6 times as long.
        "GOMP_SPINCOUNT": "2000",
        # Bytes: what a step frees serves the next one. By default the C library gives
        # it back to the system, and a training step pays for thousands of page faults.
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
        # The default of 2 s blocks every quick `ray.train.report` for that long.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    }
    if "RAY_ADDRESS" not in os.environ:
        # Token authentication guards real clusters; a local Ray would only write a
        # token file into the user's home.
        defaults["RAY_AUTH_MODE"] = "disabled"
        # Nobody takes this machine away from a local Ray with a warning.
        defaults["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
