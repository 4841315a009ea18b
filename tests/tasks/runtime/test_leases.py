"""Tests of leases on folders in S3, with several writers at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime import folder_locks, leases, manifest, storage


@pytest.fixture
def folder(bucket: str, tmp_path: Path) -> str:
    """Return a folder in S3 that does not exist."""
    return f"{bucket}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leases be renewed and become stale within seconds."""
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.2)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(leases, "STALE_SECONDS", 2.0)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let holders be processes of other machines."""
    monkeypatch.setattr(leases, "is_dead", lambda holder: False)


def abandon(lease: leases.Lease | None) -> leases.Lease:
    """Stop to renew a lease, as after a kill."""
    assert lease is not None
    lease.released.set()
    lease.thread.join(timeout=30)
    return lease


def test_of_many_writers_one_gets_the_lease(folder: str, foreign: None) -> None:
    together = threading.Barrier(4)

    def take(number: int) -> Any:
        together.wait(30)
        try:
            return leases.acquire(folder)
        except BlockingIOError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(take, range(4)))
    held = [each for each in found if isinstance(each, leases.Lease)]
    assert len(held) == 1
    assert all("held by process " in each for each in found if each not in held)
    held[0].release()
    assert storage.list_entries(folder) == []


def test_a_lease_that_is_not_renewed_is_taken_over(folder: str, foreign: None) -> None:
    first = abandon(leases.acquire(folder))
    second = leases.acquire(folder)
    assert second is not None
    first.released.clear()
    with pytest.raises(FileExistsError, match="another process has taken this folder"):
        first.check()
    second.check()
    first.release()  # It is no longer its own.
    assert leases.NAME in storage.list_entries(folder)
    second.release()


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STALE_SECONDS", 1000.0)
    abandon(leases.acquire(folder))
    monkeypatch.setattr(leases.psutil, "pid_exists", lambda pid: False)
    second = leases.acquire(folder)
    assert second is not None
    second.release()


def test_a_damaged_lease_is_taken_over(folder: str) -> None:
    storage.write_json(f"{folder}/{leases.NAME}", ["no", "holder"])
    second = leases.acquire(folder)
    assert second is not None
    second.release()


def test_uploads_of_a_killed_writer_are_aborted(folder: str, bucket: str) -> None:
    client, name = leases.connect(), bucket.removeprefix("s3://")
    prefix = folder.removeprefix(f"{bucket}/")
    for key in (f"{prefix}/part-0", f"{prefix}-other/part-0"):
        client.create_multipart_upload(Bucket=name, Key=key)
    lease = leases.acquire(folder)
    assert lease is not None
    left = client.list_multipart_uploads(Bucket=name, Prefix=prefix)["Uploads"]
    assert [each["Key"] for each in left] == [f"{prefix}-other/part-0"]
    client.abort_multipart_upload(
        Bucket=name, Key=left[0]["Key"], UploadId=left[0]["UploadId"]
    )
    lease.release()


def test_a_server_that_refuses_is_named(bucket: str) -> None:
    with pytest.raises(OSError, match=r"s3://no-such-bucket/a/_lease\.json: AWS Error"):
        leases.acquire("s3://no-such-bucket/a")


def test_a_job_that_lost_its_folder_publishes_nothing(
    folder: str, foreign: None
) -> None:
    assert manifest.claim(folder, "job") is None
    lease = abandon(folder_locks._leases[storage.resolve(folder)[1]])
    second = leases.acquire(folder)
    assert second is not None
    lease.released.clear()
    with pytest.raises(FileExistsError, match="another process has taken"):
        manifest.finish(folder, "job", rows_in=0, files=[])
    assert manifest.MANIFEST not in storage.list_entries(folder)
    second.release()
    del folder_locks._leases[storage.resolve(folder)[1]]


def test_a_finished_job_leaves_no_lease(folder: str) -> None:
    assert manifest.claim(folder, "job") is None
    assert leases.NAME in storage.list_entries(folder)
    manifest.finish(folder, "job", rows_in=0, files=[])
    assert leases.NAME not in storage.list_entries(folder)
    assert manifest.claim(folder, "job") is not None
    assert leases.NAME not in storage.list_entries(folder)
