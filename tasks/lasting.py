"""How many batches in a row have drifted."""

from tasks import storage

FILE = "drift.json"


def count(folder: str, batch: str, *, drifted: bool) -> tuple[int, bool]:
    """Notes what the monitor saw in a batch.

    A batch that is looked at again counts once.

    Args:
        folder: Of all results of a dataset.
        batch: The job key of the monitor, which is another one for another batch.
        drifted: Whether the batch has.

    Returns:
        How many in a row have drifted now, and whether this one was not yet known to.
    """
    path = storage.join(folder, FILE)
    known: list[str] = storage.read_json(path) if storage.exists(path) else []
    new = drifted and batch not in known
    known = [*known, *([batch] if new else [])] if drifted else []
    storage.write_json(path, known)
    return len(known), new
