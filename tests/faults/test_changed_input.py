"""An input that changes while a job runs stops the job; nothing mixed is published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.config.embed import EmbedConfig
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.data import encoding, fragments, group, prepare
from tasks.data.datasets import open_dataset
from tasks.data.prepared import read_encoder
from tasks.inference import embed, impute, sample, score
from tasks.inference.source import Source
from tasks.runtime import manifest, parquet, parts, storage
from tests.support.faults import (
    Fault,
    delete,
    flip,
    once,
    parts_of,
    put_back,
    regroup,
    rename_over,
    rewrite,
    rewrite_within_the_same_time,
    rows_of,
    score_rows,
)
from tests.support.preparing import content

CHANGES = [rename_over, rewrite, rewrite_within_the_same_time, regroup, delete, flip]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("number", "settings"), [(1, {}), (3, {"budget": 20}), (5, {"budget": 20})]
)
def test_scores_are_of_one_content(
    small_model: str,
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    change: Fault,
    number: int,
    settings: dict[str, Any],
) -> None:
    original, output = source.read_bytes(), tmp_path / "output"
    with monkeypatch.context() as patch:
        # Reads 3 to 5 are those of the second pass, which explains rows.
        changed = once(lambda: change(source), fragments._iter_tables, number)
        patch.setattr(fragments, "_iter_tables", changed)
        with pytest.raises(ValueError, match="rows.parquet: was (changed|deleted)"):
            score_rows(small_model, source, output, **settings)
    assert not (output / manifest.MANIFEST).exists()
    put_back(source, original)
    result = score_rows(small_model, source, output, **settings)
    assert result.rows_out == 600
    if not settings:
        assert parts_of(output) == undisturbed


def test_a_file_that_was_put_back_during_a_read_is_not_trusted(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = source.read_bytes()
    (fragment,) = open_dataset(str(source), rows_per_fragment=600).fragments
    read = fragments._iter_tables

    def disturbed(*arguments: Any) -> Any:
        rewrite(source)
        yield from read(*arguments)
        put_back(source, original)

    monkeypatch.setattr(fragments, "_iter_tables", disturbed)
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        fragments.read_fragment(fragment)


def test_a_file_with_the_same_content_is_the_same(source: Path) -> None:
    dataset = open_dataset(str(source), rows_per_fragment=600)
    put_back(source, source.read_bytes())
    assert fragments.read_fragment(dataset.fragments[0]).num_rows == 600
    dataset.sources[0].check()


def test_an_input_that_changed_after_the_last_read_is_not_published(
    small_model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = once(lambda: rewrite(source), score.totals, 0)
    monkeypatch.setattr(score, "totals", totals)
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        score_rows(small_model, source, tmp_path / "output")
    assert not (tmp_path / "output" / manifest.MANIFEST).exists()


def test_a_part_of_other_content_is_written_again(
    small_model: str, source: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    output = tmp_path / "output"
    score_rows(small_model, source, output)
    path = output / "part-00001.parquet"
    metadata = parquet.read_metadata(pq.read_metadata(path))
    assert metadata is not None
    parts.write(
        str(output), path.name, pq.read_table(path), {**metadata, "content": "other"}
    )
    score_rows(small_model, source, output)
    assert parts_of(output) == undisturbed


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", ["survey_rows", "write_fragments"])
def test_rows_are_prepared_from_one_content(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Fault,
    step: str,
) -> None:
    data = DataConfig(path=str(source), id=("id",))
    original, output = source.read_bytes(), tmp_path / "prepared"
    with monkeypatch.context() as patch:
        changed = once(lambda: change(source), getattr(prepare, step), 0)
        patch.setattr(prepare, step, changed)
        with pytest.raises(ValueError, match="rows.parquet: was (changed|deleted)"):
            prepare.prepare(data, str(output), Resources())
    assert not (output / manifest.MANIFEST).exists()
    put_back(source, original)
    prepare.prepare(data, str(output), Resources())
    prepare.prepare(data, str(tmp_path / "whole"), Resources())
    assert content(output) == content(tmp_path / "whole")


def test_a_changed_file_is_not_quarantined(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataConfig(path=str(source), id=("id",), on_bad_file="quarantine")
    changed = once(lambda: flip(source), encoding.divide_fragment, 0)
    monkeypatch.setattr(encoding, "divide_fragment", changed)
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        prepare.prepare(data, str(tmp_path / "prepared"), Resources())


def run_embed(model: str, encoder: TableEncoder, source: Path, output: str) -> None:
    config = EmbedConfig(rows_per_fragment=200)
    embed.embed(model, Source(str(source)), output, config, Resources())


def run_impute(model: str, encoder: TableEncoder, source: Path, output: str) -> None:
    torch.manual_seed(0)
    network = EoNADE(encoder.variables, EoNADE.Settings(hidden=8))
    folder = source.parent / "eonade"
    save_density(TableDensity(encoder, network), folder)
    config = ImputeConfig(rows_per_fragment=200)
    impute.impute(str(folder), str(source), output, config, Resources())


def run_sample(model: str, encoder: TableEncoder, source: Path, output: str) -> None:
    pq.write_table(pq.read_table(source, columns=["kind"]), source, row_group_size=100)
    config = SampleConfig(given=str(source), rows_per_shard=200)
    sample.sample(model, output, config, Resources())


def run_group(model: str, encoder: TableEncoder, source: Path, output: str) -> None:
    sequence = {"key": "kind", "order_by": "paid"}
    data = DataConfig.model_validate({"path": str(source), "sequence": sequence})
    group.group(data, str(source), output)


@pytest.mark.parametrize(
    ("run", "number"),
    [(run_embed, 1), (run_impute, 1), (run_sample, 1), (run_group, 0)],
)
def test_every_job_reads_one_content(
    small_model: str,
    prepared: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[str, TableEncoder, Path, str], None],
    number: int,
) -> None:
    changed = once(lambda: rename_over(source), fragments._iter_tables, number)
    monkeypatch.setattr(fragments, "_iter_tables", changed)
    output = tmp_path / "output"
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        run(small_model, read_encoder(prepared), source, str(output))
    assert not (output / manifest.MANIFEST).exists()


def test_an_object_that_was_replaced_within_a_second_is_another(bucket: str) -> None:
    filesystem, inner = storage.resolve(f"{bucket}/replaced/rows.parquet")

    def upload(seed: int) -> None:
        with filesystem.open_output_stream(inner) as stream:
            # Without statistics and codecs, both have the same size and footer.
            pq.write_table(
                rows_of(seed).select(["paid"]),
                stream,
                compression="none",
                use_dictionary=False,
                write_statistics=False,
            )

    upload(seed=7)
    dataset = open_dataset(f"{bucket}/replaced", rows_per_fragment=600)
    same = open_dataset(f"{bucket}/replaced", rows_per_fragment=600)
    upload(seed=8)
    with pytest.raises(ValueError, match="rows.parquet: was changed"):
        fragments.read_fragment(dataset.fragments[0])
    other = open_dataset(f"{bucket}/replaced", rows_per_fragment=600)
    assert dataset.fingerprint == same.fingerprint != other.fingerprint
