"""The memory limit of this process's control group, and whether it killed processes."""

from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Mount point of the control groups of Linux."""


def killed_count(root: Path = GROUPS) -> int:
    """Return how many processes of this control group ran out of memory so far.

    It is 0 where the system does not tell.

    Args:
        root: Directory of control groups.
    """
    for path in (root / "memory.events", root / "memory" / "memory.oom_control"):
        try:
            words = path.read_text().split()
        except OSError:
            continue
        counts = dict(zip(words[::2], words[1::2], strict=False))
        return int(counts.get("oom_kill", 0))
    return 0


def limit(root: Path = GROUPS) -> int | None:
    """Return the memory limit of this control group in bytes; None if there is none.

    Args:
        root: Directory of control groups.
    """
    names = (root / "memory.max", root / "memory" / "memory.limit_in_bytes")
    for path in names:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        # The first version of control groups says "no limit" by a huge number.
        return int(text) if text.isdigit() and int(text) < 1 << 60 else None
    return None
