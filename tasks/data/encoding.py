"""The second pass over a dataset: rows are written to their splits, and encoded."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tasks.data.division import PreparePlan, divide_fragment
from tasks.data.fragments import Fragment
from tasks.data.prepared import ENCODED
from tasks.data.quarantine import write_quarantined_rows
from tasks.data.splits import SPLITS
from tasks.runtime import cluster, manifest, parquet, receipts, storage
from tasks.runtime.parts import WorkUnit

READERS = 8
"""Number of receipts that are read, with the files that they list, concurrently."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class Receipt:
    """Record of the files written for a fragment; its own file is written last.

    Attributes:
        rows: Number of rows by split.
        log_abs_det: Sums over the rows of each encoded split, in nats: the
            log-determinant of the encoding, to add to the network's log-probability.
        quarantined: Number of rows in quarantine.
        files: Manifest entries of the files.
    """

    rows: dict[str, int]
    log_abs_det: dict[str, float]
    quarantined: int
    files: list[Json]


def write_fragments(
    fragments: Sequence[Fragment],
    plan: PreparePlan,
    encoder: TableEncoder,
    folder: str,
    bound: Json,
) -> list[Receipt]:
    """Write all fragments that are not written yet, on the Ray cluster.

    Args:
        fragments: Fragments of the files that can be read.
        plan: How rows are read and divided.
        encoder: Encodes the rows.
        folder: Directory of the prepared dataset.
        bound: What all receipts are bound to, such as the job key.

    Returns:
        The receipt of each fragment, in order.
    """
    found = read_receipts(fragments, folder, bound)
    todo = [f for f in fragments if f.index not in found]
    written = cluster.stream(
        partial(write_fragment, plan, encoder, folder, bound),
        todo,
        what="prepare: rows encoded",
        units=lambda fragment: fragment.rows,
        done=sum(f.rows for f in fragments) - sum(f.rows for f in todo),
    )
    for fragment, receipt in zip(todo, written, strict=True):
        found[fragment.index] = receipt
    return [found[f.index] for f in fragments]


def read_receipts(
    units: Sequence[WorkUnit], folder: str, bound: Json
) -> dict[int, Receipt]:
    """Read the receipts of the fragments whose files are whole, by index.

    Args:
        units: The fragments.
        folder: Directory of the prepared dataset.
        bound: What all receipts are bound to.
    """

    def read(unit: WorkUnit) -> Json | None:
        return receipts.read_whole(folder, receipt_name(unit), _bound(unit, bound))

    with ThreadPoolExecutor(READERS) as pool:
        pairs = zip(units, pool.map(read, units), strict=True)
        return {u.index: Receipt(**content) for u, content in pairs if content}


def _bound(unit: WorkUnit, bound: Json) -> Json:
    """Return what the receipt of a fragment is bound to."""
    return {**bound, "part": unit.index, "content": unit.content}


def part_name(unit: WorkUnit) -> str:
    """Return the name of the files of a fragment, without their ending."""
    return f"part-{unit.index:05d}"


def receipt_name(unit: WorkUnit) -> str:
    """Return the name of the file with the receipt of a fragment."""
    return f"{receipts.FOLDER}/{part_name(unit)}.json"


def write_fragment(
    plan: PreparePlan,
    encoder: TableEncoder,
    folder: str,
    bound: Json,
    fragment: Fragment,
) -> Receipt:
    """Write the rows of a fragment to their splits, encoded rows, and the receipt.

    Args:
        plan: How rows are read and divided.
        encoder: Encodes the rows.
        folder: Directory of the prepared dataset.
        bound: What all receipts are bound to.
        fragment: The rows.
    """
    divided = divide_fragment(plan, fragment)
    name = part_name(fragment)
    files, rows, log_abs_det = [], {}, dict.fromkeys(ENCODED, 0.0)
    table = divided.table.select(list(plan.carried))
    schema = pa.schema([fragment.schema.field(name) for name in plan.carried])
    for code, split in enumerate(SPLITS):
        chosen = table.filter(pa.array(divided.codes == code))
        rows[split] = chosen.num_rows
        if not chosen.num_rows:
            continue
        path = f"{split}/{name}.parquet"
        with storage.publish(storage.join(folder, path)) as unfinished:
            parquet.write(unfinished, chosen.cast(schema))
        files.append(manifest.file_entry(folder, path, chosen.num_rows))
        if split in ENCODED:
            path = f"encoded/{split}/{name}.arrow"
            encoded = encoder.encode(chosen)
            write_encoded(storage.join(folder, path), encoded.x)
            log_abs_det[split] = float(encoded.log_abs_det.sum())
            files.append(manifest.file_entry(folder, path, chosen.num_rows))
    quarantined = int((divided.codes < 0).sum())
    if quarantined:
        path = f"quarantine/{name}.parquet"
        write_quarantined_rows(storage.join(folder, path), divided, fragment)
        files.append(manifest.file_entry(folder, path, quarantined))
    receipt = Receipt(rows, log_abs_det, quarantined, files)
    path = storage.join(folder, receipt_name(fragment))
    receipts.write(path, _bound(fragment, bound), asdict(receipt))
    return receipt


def write_encoded(path: str, x: np.ndarray) -> None:
    """Publish encoded rows as one uncompressed Arrow batch.

    Args:
        path: Path of the Arrow file.
        x: Encoded rows, (n, dim) float32.
    """
    values = pa.array(np.ascontiguousarray(x).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(values, x.shape[1])
    batch = pa.record_batch([column], names=["x"])
    with (
        storage.publish(path) as unfinished,
        pa.OSFile(str(unfinished), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)
