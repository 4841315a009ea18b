"""Tests of the messages for errors that end a command."""

import sqlite3

import httpx
import pytest
from mlflow import MlflowException

from flows.cli import errors


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            MlflowException("no answer\nat all"),
            "MLflow has failed: no answer; check",
        ),
        (
            httpx.ConnectError("refused"),
            "Prefect has failed: refused; check",
        ),
        (
            sqlite3.OperationalError("database is locked"),
            "a database below",
        ),
        (
            MlflowException("(x) database or disk is full"),
            "no space left for the",
        ),
        (
            sqlite3.DatabaseError("no such table: a"),
            "a database has failed: no such",
        ),
        (MemoryError(), "memory ran out; use a smaller rows_per_fragment"),
        (KeyError("a"), "unexpected KeyError: 'a'"),
        (ValueError("a: bad"), "a: bad"),
    ],
)
def test_an_error_says_what_has_failed(error: Exception, message: str) -> None:
    assert errors.describe(error).startswith(message)


def test_an_error_of_s3_names_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage:9000")
    said = errors.describe(OSError("AWS Error NETWORK_CONNECTION during HeadObject"))
    assert "the endpoint (http://storage:9000)" in said
