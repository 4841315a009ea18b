"""The memory limit of this process's control group, and kills because of it."""

from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Mount point of the control groups of Linux."""

OWN = Path("/proc/self/cgroup")
"""File of Linux with the control groups that this process belongs to."""

MACHINE = Path("/proc/vmstat")
"""File of Linux with counts of the whole machine."""


def killed_count(root: Path = GROUPS, own: Path = OWN, machine: Path = MACHINE) -> int:
    """Return how many processes were killed so far because memory ran out.

    Those of this control group, else those of the machine; 0 where the system does not
    tell.

    Args:
        root: Directory of control groups.
        own: File that names the groups of this process.
        machine: File with counts of the machine.
    """
    found = [path / "memory.events" for path in directories(root, own)]
    found += [path / "memory.oom_control" for path in directories(root, own)]
    for path in [*found, machine]:
        try:
            words = path.read_text().split()
        except OSError:
            continue
        counts = dict(zip(words[::2], words[1::2], strict=False))
        if "oom_kill" in counts:
            return int(counts["oom_kill"])
    return 0


def limit(root: Path = GROUPS, own: Path = OWN) -> int | None:
    """Return the memory limit of this control group in bytes; None if there is none.

    Args:
        root: Directory of control groups.
        own: File that names the groups of this process.
    """
    limits = []
    for folder in directories(root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            # The first version of control groups says "no limit" by a huge number.
            if text.isdigit() and int(text) < 1 << 60:
                limits.append(int(text))
    return min(limits, default=None)


def directories(root: Path, own: Path) -> list[Path]:
    """Return the directories of this process's memory groups, innermost first.

    Args:
        root: Directory of control groups.
        own: File that names the groups of this process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    found = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            group = root / name.lstrip("/")
        elif "memory" in controllers.split(","):
            group = root / "memory" / name.lstrip("/")
        else:
            continue
        found += [p for p in [group, *group.parents] if p.is_relative_to(root)]
    # In a container, the names may be those of the host.
    return [*found, root, root / "memory"]
