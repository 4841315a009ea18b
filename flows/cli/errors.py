"""The one message for an error that ends a command."""

from tasks.runtime.failures import (
    AGAIN,
    SPACE_REMEDY,
    ClusterError,
    system_message,
)

EXPECTED_ERRORS = (ValueError, TypeError, OSError, ClusterError)
"""Errors that tasks raise about the input or the machine, with a message for users."""

SERVICES = {
    "mlflow": ("MLflow", "MLFLOW_TRACKING_URI"),
    "prefect": ("Prefect", "PREFECT_API_URL"),
    "httpx": ("Prefect", "PREFECT_API_URL"),
}
"""Name of a service, and the variable with its address, by package of an error."""

DATABASES = ("sqlalchemy", "sqlite3")
"""Packages of the errors of embedded databases."""


def describe(error: Exception) -> str:
    """Return the message for an error that ends a command.

    Errors that nobody expects are told as such, with their class.
    """
    package = type(error).__module__.partition(".")[0]
    text = str(error)
    if isinstance(error, MemoryError):
        return (
            "memory ran out; use a smaller rows_per_fragment or train.batch_size, or "
            f"more memory; {AGAIN}"
        )
    if "database or disk is full" in text:
        return f"no space left for the databases of MLflow and Prefect{SPACE_REMEDY}"
    if "database is locked" in text:
        return (
            "a database below the storage is locked by another process, such as "
            f"`chainrule ui` or a backup; wait for it to end, then {AGAIN}"
        )
    if package in SERVICES:
        name, variable = SERVICES[package]
        return (
            f"{name} has failed: {first_line(text) or type(error).__name__}; check the "
            f"server at {variable} if it is set, then {AGAIN}"
        )
    if package in DATABASES:
        return f"a database has failed: {first_line(text)}; {AGAIN}"
    message = system_message(error)
    if isinstance(error, EXPECTED_ERRORS):
        return message
    return f"unexpected {type(error).__name__}: {message}"


def first_line(text: str) -> str:
    """Return the first line of a text that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
