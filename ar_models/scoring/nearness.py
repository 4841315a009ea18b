"""Distances of rows to stored training rows, in the coordinates of `coordinates`.

The stored rows are divided into blocks of `BLOCK_ROWS` rows. Two distances are measured
to the nearest row of each block. The third smallest of them is precise: it finds rows
off the surfaces and groups in which ordinary rows lie. The mean over all blocks is the
distance to be expected to the nearest of a few random training rows: anomalies among
the training rows are in few of the blocks, so that it is large for them too, though
they resemble each other.

One stored row that equals the measured one is left out: it may be the row itself. Rows
that occur often in training have the distance 0 nevertheless.

Reference:
    Sugiyama, Borgwardt, Rapid distance-based outlier detection via sampling, 2013.
    https://papers.nips.cc/paper/2013/hash/d296c101daa88a51f6ca8cfc1ac79b50-Abstract.html
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.scoring.coordinates import Space
from ar_models.tables.encoder import TableEncoder

Floats = NDArray[np.float64]

MAX_ROWS = 1024
"""Maximum number of stored rows; twice as many gain little and cost twice the time."""

MAX_VALUES = 2**20
"""Maximum number of stored values, 4 MB."""

MIN_ROWS = 20
"""Number of stored rows below which distances say little."""

BLOCK_ROWS = 32
"""Stored rows per block. Chosen on a plateau from 16 to 64, see BENCHMARKS.md."""

NEAR_RANK = 3
"""Rank of the block among whose rows the near neighbour is, by distance, from 1."""

BATCH = 256
"""Number of rows whose distances are computed at a time, which fit the cache."""


def stored_rows(dim: int) -> int:
    """Return the number of training rows to store for a number of variables."""
    return min(MAX_ROWS, max(1, MAX_VALUES // dim))


@dataclass(frozen=True)
class Neighbour:
    """A stored row near each of n rows, and a distance that it stands for.

    Attributes:
        distance: The distance, (n,).
        shares: Part of each column in the distance, (n, columns): squared differences
            from the stored row, scaled so that they add up to the distance.
        rows: Index of the stored row, (n,).
    """

    distance: Floats
    shares: Floats
    rows: NDArray[np.int64]

    def scaled(self, distance: Floats) -> "Neighbour":
        """Return the neighbour with other distances, (n,), and shares to match."""
        factor = distance / np.where(self.distance == 0, 1.0, self.distance)
        return replace(self, distance=distance, shares=self.shares * factor[:, None])


class Nearness:
    """Training rows that are stored with a model, to measure distances to them.

    Args:
        encoder: Encoder of the rows.
        x: Encoded training rows, (m, dim).

    Attributes:
        x: The same.
        space: Coordinates in which distances are measured.
        blocks: Number of blocks of stored rows.
    """

    def __init__(self, encoder: TableEncoder, x: NDArray[np.float32]) -> None:
        self.x = x
        self.space = Space(encoder, x)
        self.blocks = max(1, len(x) // BLOCK_ROWS)
        self._columns = len(encoder.columns)

    @classmethod
    def of(cls, encoder: TableEncoder, x: NDArray[np.float32]) -> "Nearness | None":
        """Return the nearness to some rows, or None if distances would say nothing.

        Args:
            encoder: Encoder of the rows.
            x: Encoded training rows, (m, dim), of which at most as many are kept as
                `stored_rows` allows.
        """
        kept = x[: stored_rows(encoder.dim)]
        if len(kept) < MIN_ROWS:
            return None
        found = cls(encoder, kept)
        return found if found.space.sources else None

    @cached_property
    def points(self) -> Tensor:
        """Coordinates of the rows of whole blocks, (m, k); row i is in block i % b."""
        whole = len(self.x) - len(self.x) % self.blocks
        return self.space.points(self.x[:whole])

    def neighbours(self, x: NDArray[np.float32]) -> tuple[Neighbour, Neighbour]:
        """Return the near neighbour of rows, and one at the mean distance of blocks.

        Args:
            x: Encoded rows, (n, dim).
        """
        parts = [
            self._of_batch(self.space.points(x[start : start + BATCH]))
            for start in range(0, max(len(x), 1), BATCH)
        ]
        near, wide = zip(*parts, strict=True)
        return _joined(near), _joined(wide)

    def _of_batch(self, points: Tensor) -> tuple[Neighbour, Neighbour]:
        squared = self.space.squared_distances(points, self.points)
        per_block = len(self.points) // self.blocks
        squared = squared.view(len(points), per_block, self.blocks)
        least = squared.amin(1)
        self._leave_itself_out(points, squared, least)
        least = (least + self.space.squared_lengths(points)[:, None]).clamp(min=0)
        least = least.sqrt()
        rank = min(NEAR_RANK, self.blocks)
        near = least.topk(rank, dim=1, largest=False, sorted=True).indices[:, -1]
        mean = least.mean(1)
        typical = least.masked_fill(least < mean[:, None], torch.inf).argmin(1)
        wide = self._neighbour(points, squared, typical)
        return (
            self._neighbour(points, squared, near),
            wide.scaled(np.asarray(mean.double().numpy())),
        )

    def _leave_itself_out(self, points: Tensor, squared: Tensor, least: Tensor) -> None:
        """Raise the distance to one stored row that equals the measured one.

        Args:
            points: Coordinates of the rows, (n, k).
            squared: Squared distances up to a number per row, (n, rows per block,
                blocks), changed in place.
            least: Their minimum in each block, (n, blocks), changed in place.
        """
        block = least.argmin(1)
        rows = torch.arange(len(points))
        within = squared[rows, :, block].argmin(1)
        stored = self.points[within * self.blocks + block]
        itself = (points == stored).all(1).nonzero().flatten()
        squared[itself, within[itself], block[itself]] = torch.inf
        least[itself, block[itself]] = squared[itself, :, block[itself]].amin(1)

    def _neighbour(self, points: Tensor, squared: Tensor, block: Tensor) -> Neighbour:
        """Return the nearest row of one block as the neighbour of each row.

        Args:
            points: Coordinates of the rows, (n, k).
            squared: Squared distances up to a number per row, (n, rows per block,
                blocks).
            block: The block of each row, (n,).
        """
        within = squared[torch.arange(len(points)), :, block].argmin(1)
        rows = within * self.blocks + block
        # Matrix products round, and these differences do not.
        each = self.space.squared_differences(points, self.points[rows])
        shares = np.zeros((len(points), self._columns))
        sums = np.add.reduceat(each.double().numpy(), self.space.starts, axis=1)
        shares[:, self.space.columns] = sums
        distance = np.sqrt(shares.sum(axis=1))
        shares /= np.where(distance == 0, 1.0, distance)[:, None]
        return Neighbour(distance, shares, rows.numpy())


def _joined(parts: tuple[Neighbour, ...]) -> Neighbour:
    """Return the neighbours of the rows of all batches."""
    return Neighbour(
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.shares for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )
