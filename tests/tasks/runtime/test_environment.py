"""Environment defaults: embedded state below the storage, and the user's own values."""

import os
from pathlib import Path

import pytest

from tasks.runtime import environment


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Environment that has none of the variables, restored after the test."""
    for name in (
        *("PREFECT_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"),
        *("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
    ):
        # Setting it first makes monkeypatch remember that it has to be restored.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_remote_storage_keeps_embedded_state_local(tmp_path: Path) -> None:
    assert environment.local_root("s3://bucket/x") == Path(".chainrule").absolute()
    assert environment.local_root(str(tmp_path)) == tmp_path


def test_what_the_user_has_set_is_kept(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    environment.configure(str(tmp_path))

    assert os.environ["MLFLOW_TRACKING_URI"] == "http://mlflow"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "prefect")


def test_a_remote_cluster_keeps_its_authentication(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    clean.setenv("RAY_ADDRESS", "ray://head:10001")
    environment.configure(str(tmp_path))
    assert "RAY_AUTH_MODE" not in os.environ
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_local_ray_has_a_secret_of_its_own(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.configure(str(tmp_path))
    assert os.environ["RAY_AUTH_MODE"] == "token"
    secret = os.environ["RAY_AUTH_TOKEN"]
    assert len(secret) == 64

    environment.configure(str(tmp_path))
    assert os.environ["RAY_AUTH_TOKEN"] == secret  # as children inherit it

    clean.delenv("RAY_AUTH_TOKEN")
    clean.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    environment.configure(str(tmp_path))
    assert "RAY_AUTH_TOKEN" not in os.environ
