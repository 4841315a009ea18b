"""Imputation jobs: every fragment once, known cells unchanged, resumable."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.inference import impute
from tests.support.densities import random_density, sample_table
from tests.support.scoring import read_entries, read_rows
from tests.support.tables import table_encoder

NUMBERS = ("delay", "amount")


def eonade() -> TableDensity:
    """Return an order-agnostic density with random weights."""
    torch.manual_seed(0)
    encoder = table_encoder()
    model = EoNADE(encoder.variables, EoNADE.Settings(hidden=8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return TableDensity(encoder, model)


def holes(column: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    """Return a column with a third of its cells emptied."""
    gone = pa.array(rng.random(len(column)) < 1 / 3)
    return pc.if_else(gone, pa.scalar(None, column.type), column).combine_chunks()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save an order-agnostic model and return its folder."""
    folder = tmp_path_factory.mktemp("eonade")
    save_density(eonade(), folder)
    return str(folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a dataset of two files with nulls."""
    folder = tmp_path_factory.mktemp("gaps")
    density = eonade()
    rng = np.random.default_rng(2)
    for k in range(2):
        rows = sample_table(density, 150, seed=k)
        for name in NUMBERS:
            rows = rows.set_column(
                rows.column_names.index(name), name, holes(rows[name], rng)
            )
        rows = rows.append_column("key", pa.array([None, *range(149)]))
        pq.write_table(rows, folder / f"{k}.parquet")
    return str(folder)


def run(
    model: str, source: str, output: Path | str, **settings: Any
) -> impute.ImputeResult:
    """Run the job with fragments of 100 rows."""
    config = ImputeConfig(rows_per_fragment=100, **settings)
    return impute.impute(model, source, str(output), config, Resources())


def test_the_job_fills_every_fragment_and_counts(
    model: str, source: str, tmp_path: Path, in_process: None
) -> None:
    original = pq.read_table(source)

    result = run(model, source, tmp_path / "out")

    filled = read_rows(result.path)
    assert filled.schema.names == original.schema.names
    assert result.rows_in == result.rows_out == len(filled) == 300
    empty = {name: original[name].null_count for name in NUMBERS}
    assert result.filled == empty
    assert result.left == {"key": 2}
    for name in original.column_names:
        known = original[name].is_valid()
        assert filled[name].filter(known).equals(original[name].filter(known))
    assert run(model, source, tmp_path / "out").done
    again = run(model, source, tmp_path / "again")
    assert read_entries(again.path) == read_entries(result.path)


def test_several_imputations_are_numbered_and_differ(
    model: str, source: str, tmp_path: Path, in_process: None
) -> None:
    result = run(model, source, tmp_path / "out", imputations=3, details=True)

    rows = read_rows(result.path)
    assert (result.rows_in, result.rows_out) == (300, 900)
    each = [rows.filter(pc.equal(rows["imputation"], k)) for k in range(3)]
    assert [len(table) for table in each] == [300] * 3
    assert each[0]["key"].equals(each[1]["key"])
    assert not each[0]["amount"].equals(each[1]["amount"])
    told = each[0]["imputed"].to_pylist()
    assert sum(map(len, told)) == sum(result.filled.values())


def test_a_lost_part_alone_is_made_again(
    model: str, source: str, tmp_path: Path, in_process: None
) -> None:
    result = run(model, source, tmp_path / "out")
    before = read_entries(result.path)
    kept = (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns
    (tmp_path / "out" / "part-00000.parquet").unlink()

    assert not run(model, source, tmp_path / "out").done

    assert read_entries(result.path) == before
    assert (tmp_path / "out" / "part-00001.parquet").stat().st_mtime_ns == kept


def test_what_the_job_cannot_do_is_said_before_anything_is_written(
    source: str, model: str, tmp_path: Path
) -> None:
    save_density(random_density("vae"), tmp_path / "vae")
    with pytest.raises(ValueError, match="a VAE has only a bound"):
        run(str(tmp_path / "vae"), source, tmp_path / "out")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"carrier": ["UA"], "imputed": [1]}), other)
    with pytest.raises(ValueError, match="other.parquet: column 'time' is missing"):
        run(model, str(other), tmp_path / "out")
    with pytest.raises(ValueError, match="imputations above 1 need method draw"):
        ImputeConfig(method="median", imputations=2)
    assert not (tmp_path / "out").exists()


def test_a_family_with_an_ordering_fills_and_says_how(
    source: str, tmp_path: Path, in_process: None
) -> None:
    save_density(random_density("made"), tmp_path / "made")

    result = run(str(tmp_path / "made"), source, tmp_path / "out")

    filled = read_rows(result.path)
    assert [filled[name].null_count for name in NUMBERS] == [0, 0]
    assert sum(result.filled.values()) > 100
    assert 0 <= result.few_effective < result.weighted <= 300
