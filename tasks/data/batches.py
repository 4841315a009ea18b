"""Batches of encoded rows from memory-mapped files, shuffled by seed and epoch alone.

In each epoch chunks of consecutive rows are shuffled and read as pools that fit in
memory, and the rows of each pool are permuted; if all rows fit in one pool, that is a
full permutation. Rank r of w takes its slice of every global batch, so that the result
of training does not depend on the number of workers.

If rows have different lengths (sequences, whose values beyond their end are absent),
each pool is divided into windows of batches. Within a window rows are sorted by length
and the batches shuffled, so that the rows of a batch have about the same length.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import torch
from torch import Tensor

from tasks.runtime import storage

CHUNK_ROWS = 1024
"""Number of consecutive rows that are shuffled as one chunk."""

POOL_BYTES = 256 * 2**20
"""Size of a pool in bytes; up to two pools are in memory at a time."""

WINDOW = 32
"""Number of batches among which rows are sorted by length."""

Ranges = list[tuple[int, int]]
"""Half-open ranges of row numbers."""


class Rows:
    """The encoded rows of one split, a memory-mapped float32 array (count, dim).

    Attributes:
        dim: Number of variables per row.
        parts: Read-only arrays (rows, dim), one per record batch.
        starts: Number of the first row of each part, followed by the number of rows.
    """

    def __init__(self, folder: Path, every: Mapping[str, int] | None = None) -> None:
        """Map the files of a directory.

        Args:
            folder: Local directory with the files part-*.arrow.
            every: Step between the rows to use of some files, by file name without
                ending; default: 1.
        """
        paths = sorted(folder.glob("part-*.arrow"))
        if not paths:
            raise FileNotFoundError(
                f"{folder}: no encoded rows (part-*.arrow); run prepare first, on a "
                "storage that every node can read"
            )
        steps = every or {}
        self.parts = [
            part[:: steps.get(path.stem, 1)] for path in paths for part in _map(path)
        ]
        dims = {part.shape[1] for part in self.parts}
        if len(dims) > 1:
            raise ValueError(
                f"{folder}: files with rows of different lengths {sorted(dims)}; "
                "delete the prepared dataset and run the command again"
            )
        self.dim = dims.pop() if dims else 0
        self.starts = np.cumsum([0] + [len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, ranges: Ranges, device: torch.device) -> Tensor:
        """Copy the rows of some ranges to a device.

        Args:
            ranges: Ranges of row numbers.
            device: Device of the result.

        Returns:
            The rows in order of the ranges, (rows, dim).
        """
        count = sum(stop - start for start, stop in ranges)
        pinned = device.type == "cuda"
        x = torch.empty(count, self.dim, pin_memory=pinned)
        target, filled = x.numpy(), 0
        for start, stop in ranges:
            for piece in self._pieces(start, stop):
                target[filled : filled + len(piece)] = piece
                filled += len(piece)
        return x.to(device)

    def _pieces(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield views of the arrays that hold the rows from `start` up to `stop`."""
        part = int(np.searchsorted(self.starts, start, side="right")) - 1
        while start < stop:
            first, end = int(self.starts[part]), int(self.starts[part + 1])
            yield self.parts[part][start - first : min(stop, end) - first]
            start, part = min(stop, end), part + 1


def _map(path: Path) -> list[np.ndarray]:
    """Return the record batches of an Arrow file as mapped arrays (rows, dim)."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        column = table.column("x")
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(
            f"{path}: not a file of encoded rows ({error}); delete the prepared "
            "dataset and run the command again"
        ) from error
    dim = column.type.list_size
    return [
        chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, dim)
        for chunk in column.chunks
        if len(chunk)
    ]


def fetch(folder: str, cache: str) -> Path:
    """Return a local copy of a directory, or the directory itself if it is local.

    Args:
        folder: Local or remote directory.
        cache: Name of the copy in this node's temporary directory; a copy that exists
            is used as it is.
    """
    filesystem, inner = storage.resolve(folder)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return Path(inner)
    target = cache_folder(cache)
    if target.exists():
        return target
    unfinished = target.with_name(f"{storage.TEMPORARY}{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    storage.fetch(folder, unfinished)
    try:
        unfinished.rename(target)
    except OSError:
        # Another process on this node was faster; its copy is the same.
        shutil.rmtree(unfinished)
        if not target.exists():
            raise
    return target


def cache_folder(cache: str) -> Path:
    """Return the path of the local copy of a directory; see `fetch`."""
    return Path(tempfile.gettempdir()) / f"chainrule-{os.getuid()}" / cache


@dataclass(frozen=True)
class Order:
    """The assignment of rows to global batches, a function of seed and epoch.

    Attributes:
        rows: Number of rows.
        batch_size: Rows per global batch; the last of an epoch may have fewer.
        pool_rows: Rows per pool, a multiple of `batch_size`.
        seed: Random seed.
    """

    rows: int
    batch_size: int
    pool_rows: int
    seed: int

    @classmethod
    def of(
        cls,
        rows: Rows,
        *,
        batch_size: int,
        seed: int,
        pool_bytes: int = POOL_BYTES,
    ) -> "Order":
        """Return the assignment of some rows, with pools of about the same size.

        Args:
            rows: The rows.
            batch_size: Rows per global batch.
            seed: Random seed.
            pool_bytes: Approximate size of a pool.
        """
        batches = max(1, pool_bytes // (4 * rows.dim * batch_size))
        return cls(len(rows), batch_size, batches * batch_size, seed)

    @property
    def batches(self) -> int:
        """Number of global batches per epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def pools(self) -> int:
        """Number of pools per epoch."""
        return -(-self.rows // self.pool_rows)

    def pool(self, epoch: int, number: int) -> Ranges:
        """Return the rows of a pool, before its permutation.

        Args:
            epoch: Number of the epoch.
            number: Number of the pool.
        """
        if self.pools == 1:
            return [(0, self.rows)]
        chunks = self._rng(epoch, 0).permutation(-(-self.rows // CHUNK_ROWS))
        starts = chunks * CHUNK_ROWS
        lengths = np.minimum(starts + CHUNK_ROWS, self.rows) - starts
        ends = np.cumsum(lengths)
        first = number * self.pool_rows
        last = min(first + self.pool_rows, self.rows)
        ranges = []
        for i in range(
            int(np.searchsorted(ends, first, side="right")),
            int(np.searchsorted(ends, last, side="left")) + 1,
        ):
            # From places in the shuffled sequence to row numbers.
            shift = starts[i] - (ends[i] - lengths[i])
            start = max(first, ends[i] - lengths[i]) + shift
            stop = min(last, ends[i]) + shift
            ranges.append((int(start), int(stop)))
        return ranges

    def permutation(self, epoch: int, number: int) -> np.ndarray:
        """Return the permutation of the rows of a pool, (rows of the pool,).

        Args:
            epoch: Number of the epoch.
            number: Number of the pool.
        """
        size = min(self.pool_rows, self.rows - number * self.pool_rows)
        return self._rng(epoch, 1 + number).permutation(size)

    def bucketed(
        self, permutation: np.ndarray, lengths: np.ndarray, epoch: int, number: int
    ) -> np.ndarray:
        """Reorder the permutation of a pool into batches of rows of similar length.

        Args:
            permutation: Permutation of the rows of the pool.
            lengths: Length of each row of the pool.
            epoch: Number of the epoch.
            number: Number of the pool.
        """
        rng = self._rng(epoch, 1 + self.pools + number)
        parts = []
        for start in range(0, len(permutation), WINDOW * self.batch_size):
            window = permutation[start : start + WINDOW * self.batch_size]
            window = window[np.argsort(lengths[window], kind="stable")]
            full = len(window) // self.batch_size
            batches = np.split(window, np.arange(1, full + 1) * self.batch_size)
            # A batch that is not full must stay the last.
            parts += [batches[k] for k in rng.permutation(full)] + batches[full:]
        changed: np.ndarray = np.concatenate(parts)
        return changed

    def _rng(self, epoch: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed % 2**64, epoch, purpose])


@dataclass(frozen=True)
class Batch:
    """The share of a global batch that one rank trains on.

    Attributes:
        x: Rows, (share, dim), on the device; at least one, see `weight`.
        rows: Number of rows of the global batch.
        weight: 1, or 0 if the batch has fewer rows than there are ranks and this rank
            has none: then `x` is a row of another rank and must not count.
    """

    x: Tensor
    rows: int
    weight: float = 1.0


class Batches:
    """The batches of one rank, epoch by epoch.

    Each pool is read in the background while the previous one is used; a pool that
    holds all rows is read once.
    """

    def __init__(
        self,
        rows: Rows,
        order: Order,
        *,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
        by_length: bool = False,
    ) -> None:
        """Plan the batches.

        Args:
            rows: All rows.
            order: Assignment of the rows to global batches.
            rank: Rank of this process.
            world: Number of ranks.
            device: Device of the batches; default: the CPU.
            by_length: Whether a batch holds rows of similar length.
        """
        self.by_length = by_length
        self.rows, self.order = rows, order
        self.rank, self.world = rank, world
        self.device = device or torch.device("cpu")
        self.whole: Tensor | None = None

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Args:
            number: Number of the epoch.
            start: Number of the first global batch, to resume an epoch.
        """
        per_pool = self.order.pool_rows // self.order.batch_size
        pools = range(start // per_pool, self.order.pools)
        with ThreadPoolExecutor(1, "pool") as background:
            waiting = [background.submit(self._load, number, i) for i in pools[:1]]
            for i in pools:
                x, permutation = waiting.pop().result()
                if i + 1 in pools:
                    waiting.append(background.submit(self._load, number, i + 1))
                skipped = max(0, start - i * per_pool)
                yield from self._batches(x, permutation, skipped)

    def _load(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Return the rows of a pool and their permutation, on the device."""
        permutation = torch.from_numpy(self.order.permutation(epoch, number))
        if self.whole is None:
            x = self.rows.read(self.order.pool(epoch, number), self.device)
            if self.order.pools == 1:
                self.whole = x
        else:
            x = self.whole
        if self.by_length:
            lengths = (~x.isnan()).sum(-1).cpu().numpy()
            chosen = self.order.bucketed(permutation.numpy(), lengths, epoch, number)
            permutation = torch.from_numpy(chosen)
        return x, permutation.to(self.device)

    def _batches(
        self, pool: Tensor, permutation: Tensor, start: int
    ) -> Iterator[Batch]:
        """Yield this rank's share of the global batches of a pool, from `start` on."""
        size = self.order.batch_size
        for batch in permutation.split(size)[start:]:
            first, last = share(len(batch), self.rank, self.world)
            index = batch[first:last] if last > first else batch[:1]
            yield Batch(pool.index_select(0, index), len(batch), float(last > first))


def share(count: int, rank: int, world: int) -> tuple[int, int]:
    """Return the half-open range of `count` items that belongs to a rank."""
    return count * rank // world, count * (rank + 1) // world


def in_sequence(
    rows: Rows,
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
) -> Iterator[Tensor]:
    """Yield this rank's share of all rows in file order, in batches (batch, dim).

    Args:
        rows: All rows.
        batch_size: Maximum number of rows per batch.
        rank: Rank of this process.
        world: Number of ranks.
        device: Device of the batches; default: the CPU.
    """
    first, last = share(len(rows), rank, world)
    for start in range(first, last, batch_size):
        ranges = [(start, min(start + batch_size, last))]
        yield rows.read(ranges, device or torch.device("cpu"))
