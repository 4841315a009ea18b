"""Failures of the machines that a job runs on, other than those of its input."""


class ClusterError(RuntimeError):
    """Ray, or one of its processes, has failed; the message says what to do."""


AGAIN = "give the same command again: it continues with what is finished"
"""What every message about a process that has died ends with."""
