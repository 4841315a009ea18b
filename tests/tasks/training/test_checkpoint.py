"""Tests of checkpoints: training goes on to the same weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tasks.training.trainer import Trainer
from tests.support.training import (
    STEPS,
    all_weights,
    draw_rows,
    make_batches,
    make_trainer,
)


@pytest.mark.parametrize("stop", [5, 12, 17])
def test_a_checkpoint_goes_on_to_the_same_weights(tmp_path: Path, stop: int) -> None:
    config = {"ema_decay": 0.9, "learning_rate": 1e-2}
    half = STEPS // 2
    plan = [make_batches(0), make_batches(1)]

    def run(learning: Trainer) -> Iterator[None]:
        while learning.state.stopped is None:
            for batch in plan[learning.state.epoch][learning.state.batch :]:
                learning.step(batch)
                if learning.state.batch < half:
                    yield
            learning.end_epoch(learning.nll([draw_rows(50, seed=9)]))
            yield

    whole, first, second = (make_trainer(seed, **config) for seed in (0, 0, 1))
    list(run(whole))
    for _, _ in zip(range(stop), run(first), strict=False):
        pass
    first.save(tmp_path)
    second.load(tmp_path)
    list(run(second))

    torch.testing.assert_close(all_weights(second), all_weights(whole), atol=0, rtol=0)
    torch.testing.assert_close(second.best, whole.best, atol=0, rtol=0)
    for key in ("train_nll", "valid_nll", "learning_rate"):
        assert [r[key] for r in second.state.history] == [
            r[key] for r in whole.state.history
        ]


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    learning = make_trainer(ema_decay=0.5)
    learning.step(make_batches()[0])

    learning.save(tmp_path)

    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_another_number_of_ranks_takes_over_all_sums(tmp_path: Path) -> None:
    learning = make_trainer()
    for rank, total in enumerate([1.5, 2.0, 4.0]):
        learning.rank, learning.sums[0] = rank, total
        learning.save(tmp_path)
    loaded = []
    for rank in range(2):
        other = make_trainer()
        other.rank, other.world = rank, 2
        other.load(tmp_path)
        loaded.append(float(other.sums[0]))

    assert loaded == [5.5, 2.0]
