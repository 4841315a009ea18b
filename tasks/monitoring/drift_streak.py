"""The number of consecutive batches with drift."""

from tasks.runtime import storage

FILE = "drift.json"


def record(folder: str, batch: str, *, drifted: bool) -> tuple[int, bool]:
    """Record whether a batch has drifted; repeating it changes nothing.

    Args:
        folder: Directory of all results of a dataset.
        batch: Job key of the drift report, which identifies the batch.
        drifted: Whether the batch has drifted.

    Returns:
        The number of consecutive batches with drift, and whether this one is newly
        among them.
    """
    path = storage.join(folder, FILE)
    known: list[str] = storage.read_json(path) if storage.exists(path) else []
    new = drifted and batch not in known
    known = [*known, *([batch] if new else [])] if drifted else []
    storage.write_json(path, known)
    return len(known), new
