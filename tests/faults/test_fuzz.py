"""Random schemas, values and damage: every job succeeds or ends with one clear line."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import errors
from tasks.config.data import DataConfig
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.score import ScoreConfig
from tasks.data.prepare import prepare
from tasks.inference.impute import impute
from tasks.inference.sample import sample
from tasks.inference.score import score
from tasks.inference.source import Source
from tests.support.fuzz import random_table, write_random_file
from tests.support.model_pair import train_small

LOCAL = Resources()


class Example:
    """A random dataset, new rows for its model, and how every job on them ended.

    Attributes:
        outcomes: Messages of the jobs that failed, by name; empty of those that did
            not.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.outcomes: dict[str, str] = {}

    def run(self, name: str, job: Callable[[], Any]) -> Any:  # the job's result
        """Run a job; a failure must be one that users are told in one clear line."""
        try:
            result = job()
        except Exception as error:
            message = errors.describe(error)
            self.outcomes[name] = message
            if message.startswith("unexpected") or not message.strip():
                raise AssertionError(f"seed {self.seed}, {name}: {message}") from error
            return None
        self.outcomes[name] = ""
        return result

    def run_all(self) -> None:
        """Run all jobs, as far as there is a prepared dataset and a model."""
        rows, new = self.folder / "rows.parquet", self.folder / "new.parquet"
        write_random_file(self.seed, rows, None)
        names = tuple(random_table(self.seed).column_names[1:])
        write_random_file(self.seed + 1_000_000, new, names)
        quarantine = "quarantine" if self.seed % 2 else "stop"
        data = DataConfig(path=str(rows), id=("id",), on_bad_file=quarantine)
        folder = str(self.folder / "prepared")
        prepared = self.run("prepare", lambda: prepare(data, folder, LOCAL))
        if prepared is None:
            return
        model = self.run("train", lambda: self.train(prepared.path))
        if model is None:
            return
        source = Source(str(new), ("id",), quarantine)
        output = str(self.folder / "output")
        self.run("score", lambda: self.score(model, source, f"{output}-score"))
        drawn = SampleConfig(rows=20)
        self.run("sample", lambda: sample(model, f"{output}-sample", drawn, LOCAL))
        filled = ImputeConfig()
        self.run(
            "impute", lambda: impute(model, str(new), f"{output}-impute", filled, LOCAL)
        )

    def train(self, prepared: str) -> str:
        """Train an order-agnostic model for two steps."""
        folder = self.folder / "model"
        return train_small("eonade", prepared, folder, 2, hidden=8, components=2)

    def score(self, model: str, source: Source, output: str) -> Any:
        """Score the new rows; every row is scored or in quarantine."""
        result = score(model, source, output, ScoreConfig(rows_per_fragment=50), LOCAL)
        assert result.rows_in == result.rows_out + result.rows_quarantined
        return result


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out the warnings about what is set aside."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = metafunc.config.getoption("--examples").split("+")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(int(first), int(first) + int(count)))


@pytest.mark.filterwarnings("ignore")
def test_any_file_is_a_result_or_one_clear_line(seed: int, tmp_path: Path) -> None:
    example = Example(seed, tmp_path)
    example.run_all()
    assert "prepare" in example.outcomes
