"""Failures of the machines that a job runs on, other than those of its input."""

import errno
import os


class ClusterError(RuntimeError):
    """Ray, or one of its processes, has failed; the message says what to do."""


AGAIN = "give the same command again: it continues with what is finished"
"""Last sentence of every message about a process that has died."""

SPACE_REMEDY = "; free some space, or choose another --storage or --output"
ACCESS_REMEDY = "; choose a --storage or --output that you may write to"
REMEDIES = {
    errno.ENOSPC: SPACE_REMEDY,
    errno.EACCES: ACCESS_REMEDY,
    errno.EROFS: ACCESS_REMEDY,
}
"""Remedies for errors of the operating system, by error number."""


def system_message(error: Exception) -> str:
    """Return the message of an error; for errors of the system, with a remedy."""
    if isinstance(error, OSError) and "AWS Error" in str(error):
        return f"{error}{remote_remedy(str(error))}"
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    message = str(error)
    if error.filename:
        message = f"{error.filename}: {(error.strerror or '').lower()}"
    return message + REMEDIES.get(error.errno, "")


def remote_remedy(text: str) -> str:
    """Return what to do about an error of S3, to be added to its message.

    Args:
        text: The message, or the path that it is about; the remedy is empty if it is
            not about S3.
    """
    if "AWS Error" not in text and not text.startswith("s3://"):
        return ""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
        "AWS_ENDPOINT_URL", "that of AWS"
    )
    return (
        f"; check the network, the credentials and the endpoint ({endpoint}), and give "
        "the same command again"
    )
