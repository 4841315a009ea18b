"""Tests of the benchmark of published likelihoods, on small datasets."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tasks.config.load import load
from tests.support.scripts import import_script

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "examples" / "published").glob("*.yaml"))


@pytest.fixture(scope="module")
def published() -> ModuleType:
    return import_script("published")


@pytest.fixture
def folder(
    tmp_path: Path, published: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Write two datasets, their configurations and an empty table."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        bits = rng.integers(0, 2, (200, 4)).astype(np.uint8)
        bits[:, 1] = bits[:, 0]
        lists = pa.array(["ab" * int(k) for k in rng.integers(1, 4, 200)])
        (tmp_path / "bits").mkdir(exist_ok=True)
        (tmp_path / "texts").mkdir(exist_ok=True)
        pq.write_table(
            pa.table({f"x{i}": bits[:, i] for i in range(4)}),
            tmp_path / "bits" / f"{split}.parquet",
        )
        pq.write_table(
            pa.table({"text": lists}), tmp_path / "texts" / f"{split}.parquet"
        )
    train = {"epochs": 20, "batch_size": 20, "learning_rate": 0.02}
    models = {
        "bits": {"ensemble": 2, "hidden": 16, "layers": 1},
        "texts": {"family": "rnn", "hidden": 16, "steps": "places"},
    }
    for name, model in models.items():
        content = {"name": name, "data": {"path": name}, "model": model, "train": train}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    table = tmp_path / "table.md"
    table.write_text("before\n<!-- published -->\n<!-- end of published -->\nafter\n")
    monkeypatch.setattr(published, "CONFIGS", tmp_path)
    monkeypatch.setattr(published, "TABLE", table)
    figures = {
        "bits": published.Published(2.5, {"made": 3.0}),
        "texts": published.Published(0.5, {}, "character"),
    }
    monkeypatch.setattr(published, "FIGURES", figures)
    monkeypatch.setattr(published, "SEQUENCES", {"texts": texts})
    return tmp_path


def texts(folder: Path) -> list[pa.Array]:
    splits = [
        pq.read_table(folder / f"{split}.parquet")["text"].combine_chunks()
        for split in ("train", "valid", "test")
    ]
    return [*splits, pa.array([], pa.string())]


def run(published: ModuleType, folder: Path, *arguments: str) -> None:
    threads = torch.get_num_threads()
    given = ["--data", str(folder), "--work", str(folder / "work"), *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["published.py", *given])
        published.main()
    torch.set_num_threads(threads)


def rows(folder: Path) -> dict[str, list[str]]:
    """Return the cells of the table's rows by configuration."""
    lines = (folder / "table.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    found = [[c.strip() for c in line.split("|")[1:-1]] for line in lines[4:-2]]
    return {row[0]: row[1:] for row in found}


def test_a_row_says_what_came_out(published: ModuleType, folder: Path) -> None:
    run(published, folder, "bits")

    (row,) = rows(folder).values()

    assert row[:3] == ["bits", "made", "2 x 1"]
    # Three fair coins and a copy of one of them.
    assert float(row[3].split()[0]) == pytest.approx(3 * np.log(2), abs=0.15)
    assert row[4:6] == ["3.00", "2.50"]


def test_sequences_count_by_the_place(published: ModuleType, folder: Path) -> None:
    run(published, folder, "texts", "bits")

    found = rows(folder)

    assert list(found) == ["`bits`", "`texts`"]
    assert found["`texts`"][0] == "texts, per character"
    # Once it knows the first character, it knows all others.
    assert float(found["`texts`"][3].split()[0]) < 0.2


def test_what_is_trained_is_kept(
    published: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(published, folder, "bits", "--choose", "--members", "1")
    assert "seed 0 epoch 1" in capsys.readouterr().out
    assert not rows(folder)

    run(published, folder, "bits")

    said = capsys.readouterr().out
    assert "seed 1 epoch 1" in said and "seed 0 epoch 1" not in said


def test_what_was_chosen_stands_in_the_file(
    published: ModuleType, folder: Path
) -> None:
    with pytest.raises(SystemExit):
        run(published, folder, "bits", "--set", "model.hidden=8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_are_valid(path: Path) -> None:
    assert load(path).name == path.stem
