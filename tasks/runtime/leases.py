"""Leases on folders in S3, which has no locks: one process at a time writes to each.

A lease is an object that is created only if it is absent, and replaced only in the
version that was read (conditional writes of S3). Its holder renews it; one that was not
renewed for a while is taken over, for instance after a kill.
"""

import atexit
import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from typing import Any

import psutil

logger = logging.getLogger(__name__)

NAME = "_lease.json"
"""Name of the object in the folder."""

RENEWAL_SECONDS = 10.0
"""Seconds between two renewals by the holder."""

STALE_SECONDS = 40.0
"""Seconds after which a lease that was not renewed is taken over."""

POLL_SECONDS = 2.0
"""Seconds between two looks at a lease of another process."""

REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
"""Codes of S3 for a conditional write whose condition does not hold."""

UNKNOWN = ("NotImplemented", "501")
"""Codes of servers that have no conditional writes."""


class Lease:
    """The right to write to a folder, renewed by a thread until it is released.

    Args:
        client: Client of S3.
        bucket: Name of the bucket.
        key: Key of the lease.
        etag: Version of the lease that this process wrote.

    Attributes:
        lost: Set once another process has taken the lease over.
    """

    def __init__(self, client: Any, bucket: str, key: str, etag: str) -> None:
        self.client, self.bucket, self.key, self.etag = client, bucket, key, etag
        self.lost = threading.Event()
        self.released = threading.Event()
        self.renewing = threading.Lock()
        self.thread = threading.Thread(target=self.keep, name="lease", daemon=True)
        self.thread.start()
        atexit.register(self.release)

    def keep(self) -> None:
        """Renew the lease until it is released or lost."""
        while not self.released.wait(RENEWAL_SECONDS) and not self.lost.is_set():
            # A server that does not answer now may do so before the lease is stale.
            with contextlib.suppress(OSError):
                self.renew()

    def renew(self) -> None:
        """Write the lease again, unless another process has taken it over."""
        with self.renewing:
            if self.released.is_set():
                return
            etag = write(self.client, self.bucket, self.key, IfMatch=self.etag)
            if etag is None:
                self.lost.set()
            else:
                self.etag = etag

    def check(self) -> None:
        """Raise FileExistsError if another process has taken the lease over."""
        self.renew()
        if self.lost.is_set():
            raise FileExistsError(
                f"s3://{self.bucket}/{self.key}: another process has taken this folder "
                "over, since this one had not answered; give the command again once "
                "the other one has ended"
            )

    def release(self) -> None:
        """Delete the lease, if it is still that of this process."""
        atexit.unregister(self.release)
        with self.renewing:
            self.released.set()
            if not self.lost.is_set():
                with contextlib.suppress(OSError):
                    delete(self.client, self.bucket, self.key, self.etag)


def acquire(folder: str) -> Lease | None:
    """Return a lease on a folder, once it is free; None if the server knows no leases.

    Multipart uploads below the folder, which a killed writer left, are aborted.

    Args:
        folder: URI of the folder, s3://BUCKET/PATH.

    Raises:
        BlockingIOError: Another process holds the lease and renews it.
        OSError: The server refuses or does not answer.
    """
    bucket, _, path = folder.removeprefix("s3://").rstrip("/").partition("/")
    client, key = connect(), f"{path}/{NAME}"
    began, seen = time.monotonic(), None
    while True:
        try:
            etag = write(client, bucket, key, IfNoneMatch="*")
        except NotImplementedError:
            logger.warning(
                "%s: its server has no conditional writes, so no lock; run only one "
                "job there at a time",
                folder,
            )
            return None
        if etag is None and (found := read(client, bucket, key)) is not None:
            version, age, holder = found
            if seen not in (None, version):
                raise BlockingIOError(f"{folder}: held by {holder}")
            if seen is None and age < STALE_SECONDS:
                logger.info("%s: waiting for the lease of %s", folder, holder)
            seen = version
            waited = age + time.monotonic() - began
            if is_dead(holder) or waited >= STALE_SECONDS:
                etag = write(client, bucket, key, IfMatch=version)
        if etag is not None:
            abort_uploads(client, bucket, f"{path}/")
            return Lease(client, bucket, key, etag)
        time.sleep(POLL_SECONDS)


def connect() -> Any:  # boto3 makes its classes at run time
    """Return a client of S3 with the settings of the environment."""
    # Importing it takes half a second, and local results do not need it.
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    settings = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard"})
    return boto3.client("s3", config=settings, region_name=region())


def region() -> str:
    """Return the region of S3 that the environment names, or its default."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return next((os.environ[n] for n in names if os.environ.get(n)), "us-east-1")


@contextlib.contextmanager
def s3_errors(place: str) -> Any:  # an iterator that mypy takes for a context manager
    """Raise errors of the client in the block as OSError.

    Args:
        place: URI that the block asks for.
    """
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
    )

    try:
        yield
    except ClientError as error:
        if code_of(error) in UNKNOWN:
            raise NotImplementedError(str(error)) from error
        raise OSError(f"{place}: AWS Error: {error}") from error
    except BotoCoreError as error:
        raise OSError(f"{place}: AWS Error: {error}") from error


def code_of(error: Any) -> str:  # a ClientError
    """Return the code of an error of S3."""
    return str(error.response.get("Error", {}).get("Code"))


def write(client: Any, bucket: str, key: str, **condition: str) -> str | None:
    """Write a lease of this process; return its version, None if refused.

    Args:
        client: Client of S3.
        bucket: Name of the bucket.
        key: Key of the lease.
        **condition: `IfNoneMatch` or `IfMatch`.
    """
    from botocore.exceptions import ClientError

    holder = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
    with s3_errors(f"s3://{bucket}/{key}"):
        try:
            answer = client.put_object(
                Bucket=bucket, Key=key, Body=json.dumps(holder).encode(), **condition
            )
        except ClientError as error:
            # A lease that was to be renewed and is gone is lost, too.
            if code_of(error) in (*REFUSED, "NoSuchKey", "404"):
                return None
            raise
    return str(answer["ETag"])


def read(client: Any, bucket: str, key: str) -> tuple[str, float, str] | None:
    """Return version, age in seconds and holder of a lease; None if there is none.

    The age is by the clock of the server.
    """
    from botocore.exceptions import ClientError

    with s3_errors(f"s3://{bucket}/{key}"):
        try:
            answer = client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise
    return str(answer["ETag"]), age_of(answer), describe(answer["Body"].read())


def age_of(answer: Any) -> float:
    """Return the seconds since an object was written, by the clock of the server."""
    from email.utils import parsedate_to_datetime

    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if "date" not in headers:
        return 0.0
    now = parsedate_to_datetime(headers["date"])
    return max(0.0, float((now - answer["LastModified"]).total_seconds()))


def describe(content: bytes) -> str:
    """Return the holder that a lease names, as text; one that is damaged has none."""
    try:
        holder = json.loads(content)
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def is_dead(holder: str) -> bool:
    """Return whether a holder, as `describe` names it, is of this machine and gone."""
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname():
        return False
    return not psutil.pid_exists(int(words[1]))


def delete(client: Any, bucket: str, key: str, etag: str) -> None:
    """Delete a lease if it has a version."""
    found = read(client, bucket, key)
    if found is not None and found[0] == etag:
        with s3_errors(f"s3://{bucket}/{key}"):
            client.delete_object(Bucket=bucket, Key=key)


def abort_uploads(client: Any, bucket: str, prefix: str) -> None:
    """Abort the multipart uploads below a prefix, whose writers are gone.

    Args:
        client: Client of S3.
        bucket: Name of the bucket.
        prefix: Start of the keys.
    """
    with s3_errors(f"s3://{bucket}/{prefix}"):
        pages = client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", ()):
                client.abort_multipart_upload(
                    Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
