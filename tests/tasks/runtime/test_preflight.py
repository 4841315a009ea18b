"""Tests of the checks before work."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.runtime import preflight

VARIABLES = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "RAY_ADDRESS")


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave all servers unset."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """Return a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def checks(root: Path, dataset: str | None = None) -> dict[str, preflight.Check]:
    """Return the checks by name."""
    return {each.name: each for each in preflight.run_checks(str(root), dataset)}


def test_work_can_begin_where_nothing_is_set(tmp_path: Path) -> None:
    assert [c for c in checks(tmp_path).values() if not c.passed] == []
    assert list(tmp_path.iterdir()) == []
    preflight.require(str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "name", "address"),
    [
        ("MLFLOW_TRACKING_URI", "MLflow", "http://127.0.0.1:{}"),
        ("PREFECT_API_URL", "Prefect", "http://127.0.0.1:{}/api"),
        ("RAY_ADDRESS", "Ray", "127.0.0.1:{}"),
        ("RAY_ADDRESS", "Ray", "ray://127.0.0.1:{}"),
    ],
)
def test_servers_that_are_not_there_are_named_with_the_remedy(
    variable: str,
    name: str,
    address: str,
    closed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, address.format(closed))
    found = checks(tmp_path)[name]
    assert not found.passed
    assert found.message.startswith(f"{variable} is {address.format(closed)}, where no")
    assert f"or unset {variable}" in found.message
    with pytest.raises(OSError, match=f"^{name}: {variable} is"):
        preflight.require(str(tmp_path))


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL"])
def test_a_server_that_does_not_answer_is_not_waited_for(
    variable: str, silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "DEADLINE_SECONDS", 1.5)
    monkeypatch.setenv(variable, f"http://127.0.0.1:{silent}")
    failed = [each for each in checks(tmp_path).values() if not each.passed]
    assert len(failed) == 1
    assert "timed out" in failed[0].message or "no answer" in failed[0].message


def test_storage_that_does_not_answer_is_not_waited_for(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent}")
    monkeypatch.setattr(preflight, "DEADLINE_SECONDS", 1.0)
    found = preflight.run_check(
        "storage", lambda: preflight.check_storage("s3://bucket/x")
    )
    assert (found.passed, found.message) == (False, "no answer within 1 s")


def test_passwords_are_not_shown(
    closed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://operator:very-secret@127.0.0.1:{closed}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert "http://***@127.0.0.1" in checks(tmp_path)["MLflow"].message


def test_a_disk_without_room_for_the_dataset_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.parquet").write_bytes(bytes(2**20))
    dataset = str(tmp_path / "rows.parquet")
    assert checks(tmp_path, dataset)["free space"].passed
    monkeypatch.setattr(preflight, "SPACE_PER_INPUT_BYTE", 2**40)
    message = checks(tmp_path, dataset)["free space"].message
    assert "MiB are free" in message and "free some space" in message


@pytest.mark.parametrize(
    ("dataset", "passed"), [("none/*.parquet", False), ("*.parquet", True)]
)
def test_a_dataset_that_is_not_there_is_named(
    dataset: str, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = checks(tmp_path, dataset)["dataset"]
    assert found.passed == passed
    if not passed:
        assert (
            found.message == "none: there is no such file or directory; see data.path"
        )


def test_a_folder_that_databases_cannot_lie_in_is_named(tmp_path: Path) -> None:
    found = checks(tmp_path / "what?")["paths"]
    assert not found.passed
    assert "choose another --storage" in found.message


def test_other_versions_than_required_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ["numpy>=99", "no-such-package", 'zuko>=99; extra == "bench"']
    monkeypatch.setattr(preflight.metadata, "requires", lambda name: needs)
    message = checks(tmp_path)["versions"].message
    assert message.startswith("these packages are needed: numpy>=99 (")
    assert "no-such-package (missing); " in message
    preflight.require(str(tmp_path))
