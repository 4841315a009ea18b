from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.data import batches
from tasks.data.batches import Batch, Batches, Order, Rows

DIM = 3


def write_rows(folder: Path, *parts: np.ndarray) -> Rows:
    """Write arrays (rows, dim) as prepare does, a file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, x in enumerate(parts):
        values = pa.array(x.ravel(), type=pa.float32())
        column = pa.FixedSizeListArray.from_arrays(values, x.shape[1])
        table = pa.table({"x": column})
        path = folder / f"part-{number:05d}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    return Rows(folder)


@pytest.fixture
def x() -> np.ndarray:
    """Return rows whose first variable is their number, some variables absent."""
    x = np.arange(5000, dtype=np.float32)[:, None] + np.array([0.0, 0.1, 0.2])
    x[::7, 1] = np.nan
    return x.astype(np.float32)


@pytest.fixture
def rows(tmp_path: Path, x: np.ndarray) -> Rows:
    return write_rows(tmp_path / "train", x[:1500], x[1500:1501], x[1501:])


def small_pools(rows: Rows, *, batch_size: int = 64, seed: int = 0) -> Order:
    """Return an order with several pools and a short last batch."""
    pool_bytes = 4 * DIM * 1200
    return Order.of(rows, batch_size=batch_size, seed=seed, pool_bytes=pool_bytes)


def numbers(some: Iterable[Batch]) -> list[int]:
    """Return the numbers of the rows in batches, in order."""
    return torch.cat([b.x[:, 0] for b in some if b.weight]).long().tolist()


def test_mapped_rows_are_the_written_ones(rows: Rows, x: np.ndarray) -> None:
    read = rows.read([(1490, 1510), (3, 5), (4990, 5000)], torch.device("cpu"))

    expected = np.concatenate([x[1490:1510], x[3:5], x[4990:5000]])
    np.testing.assert_array_equal(read.numpy(), expected)


def test_rows_are_mapped_and_not_read(rows: Rows) -> None:
    assert all(not part.flags.owndata for part in rows.parts)
    assert sum(len(part) for part in rows.parts) == len(rows) == 5000


@pytest.mark.parametrize("pool_bytes", [4 * DIM * 1200, batches.POOL_BYTES])
def test_an_epoch_takes_every_row_once(rows: Rows, pool_bytes: int) -> None:
    order = Order.of(rows, batch_size=64, seed=0, pool_bytes=pool_bytes)

    taken = numbers(Batches(rows, order).epoch(0))

    assert sorted(taken) == list(range(5000))
    assert taken != sorted(taken)


def test_the_order_depends_on_seed_and_epoch_alone(rows: Rows) -> None:
    first = numbers(Batches(rows, small_pools(rows)).epoch(3))
    used = Batches(rows, small_pools(rows))
    list(used.epoch(2))

    assert numbers(used.epoch(3)) == first
    assert numbers(used.epoch(4)) != first
    assert numbers(Batches(rows, small_pools(rows, seed=1)).epoch(3)) != first
    assert numbers(Batches(rows, small_pools(rows, seed=-1)).epoch(3)) != first


def test_pools_mix_rows_from_all_over_the_data(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "CHUNK_ROWS", 50)
    order = small_pools(rows)

    first_pool = numbers(Batches(rows, order).epoch(0))[: order.pool_rows]

    assert order.pools > 3
    assert min(first_pool) < 1000
    assert max(first_pool) > 4000
    assert len(set(np.array(first_pool) // 50)) > 20


def test_rows_of_one_pool_are_fully_permuted(rows: Rows) -> None:
    order = Order.of(rows, batch_size=5000, seed=0)

    taken = np.array(numbers(Batches(rows, order).epoch(0)))

    # The correlation of a random permutation has a standard deviation of 1/sqrt(5000):
    # the odds of a failure by chance are below 1e-6.
    assert abs(np.corrcoef(taken, np.arange(5000))[0, 1]) < 5 / np.sqrt(5000)


@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_share_each_global_batch(rows: Rows, world: int) -> None:
    order = small_pools(rows)
    ranks = [Batches(rows, order, rank=r, world=world).epoch(1) for r in range(world)]

    whole = list(Batches(rows, order).epoch(1))

    for batch, *parts in zip(whole, *ranks, strict=True):
        torch.testing.assert_close(
            torch.cat([part.x for part in parts]), batch.x, equal_nan=True
        )
        assert {part.rows for part in parts} == {len(batch.x)}


def test_a_rank_without_rows_of_a_short_batch_counts_nothing(
    tmp_path: Path, x: np.ndarray
) -> None:
    rows = write_rows(tmp_path / "few", x[:3])
    order = Order.of(rows, batch_size=64, seed=0)

    parts = [
        next(Batches(rows, order, rank=rank, world=4).epoch(0)) for rank in range(4)
    ]

    assert sum(part.weight * len(part.x) for part in parts) == 3
    assert [part.rows for part in parts] == [3] * 4
    assert all(len(part.x) == 1 for part in parts)


def test_an_epoch_goes_on_where_it_was_left(rows: Rows) -> None:
    data = Batches(rows, small_pools(rows))
    whole = list(data.epoch(2))

    for start in (1, 18, 19, len(whole) - 1):
        assert numbers(data.epoch(2, start=start)) == numbers(whole[start:])
    assert list(data.epoch(2, start=len(whole))) == []


def test_rows_in_sequence_are_shared_out(rows: Rows, x: np.ndarray) -> None:
    parts = [
        torch.cat(list(batches.in_sequence(rows, 300, rank=rank, world=3)))
        for rank in range(3)
    ]

    np.testing.assert_array_equal(torch.cat(parts).numpy(), x)


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no encoded rows"):
        Rows(tmp_path / "nowhere")


def test_a_damaged_file_is_named(tmp_path: Path, x: np.ndarray) -> None:
    write_rows(tmp_path, x)
    path = tmp_path / "part-00000.arrow"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(ValueError, match="part-00000.arrow: not a file of encoded"):
        Rows(tmp_path)


def test_files_of_different_width_are_refused(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"different lengths \[2, 3\]"):
        write_rows(tmp_path, x, x[:, :2])


def test_rows_of_about_one_length_share_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 1000)
    x = np.where(np.arange(41) < 1 + lengths[:, None], 1.0, np.nan).astype(np.float32)
    x[:, 0] = np.arange(1000)
    rows = write_rows(tmp_path / "train", x)
    order = Order.of(rows, batch_size=32, seed=0)

    plain = list(Batches(rows, order).epoch(0))
    alike = list(Batches(rows, order, by_length=True).epoch(0))
    again = list(Batches(rows, order, by_length=True).epoch(1))

    def spread(some: list[Batch]) -> float:
        each = [(~batch.x.isnan()).sum(1).float() for batch in some]
        return float(np.mean([float(one.max() - one.min()) for one in each]))

    assert sorted(numbers(alike)) == list(range(1000))
    assert [len(batch.x) for batch in alike] == [len(batch.x) for batch in plain]
    assert spread(alike) < 3 < 30 < spread(plain)
    means = [float((~batch.x.isnan()).sum(1).float().mean()) for batch in alike]
    assert means != sorted(means)
    assert numbers(again) != numbers(alike)


def test_workers_share_batches_by_length_too(tmp_path: Path) -> None:
    x = np.full((100, 9), np.nan, np.float32)
    x[:, 0] = np.arange(100)
    x[::3, 1:5] = 1
    rows = write_rows(tmp_path / "train", x)
    order = Order.of(rows, batch_size=16, seed=0)

    whole = list(Batches(rows, order, by_length=True).epoch(0))
    halves = [
        list(Batches(rows, order, rank=r, world=2, by_length=True).epoch(0))
        for r in range(2)
    ]

    for batch, one, other in zip(whole, *halves, strict=True):
        assert torch.equal(batch.x[:, 0], torch.cat([one.x, other.x])[:, 0])
