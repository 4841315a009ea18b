"""Going on from the champion: with its encoder, on a stated mixture of rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from tasks.config.data import DataConfig
from tasks.config.model import model_config
from tasks.config.resources import Resources
from tasks.config.root import Config
from tasks.config.train import TrainConfig
from tasks.data import batches, prepare
from tasks.runtime import storage
from tasks.runtime.model_store import load
from tasks.training import warm_start
from tasks.training.worker import TrainingRun, initial_model
from tests.support.model_pair import ModelPair
from tests.support.training import train_config


def parts(*rows: int) -> dict[str, Any]:
    """Return the manifest of a dataset with given numbers of train rows."""
    return {
        "files": [
            {"path": f"encoded/train/part-{k:05d}.arrow", "rows": count}
            for k, count in enumerate(rows)
        ]
        + [{"path": "encoded/valid/part-00000.arrow", "rows": 9}],
        "sources": {
            f"part-{k:05d}": {"name": f"{k}.parquet", "content": f"content {k}"}
            for k in range(len(rows))
        },
    }


@pytest.fixture
def champion(pair: ModelPair, tmp_path: Path) -> str:
    """Save a copy of the strong model that was trained on two of three files."""
    density = load(pair.models["strong"])
    split_rule = {"contents": ["content 0", "content 1"]}
    info = {**density.info, "split_rule": split_rule}
    save_density(
        TableDensity(density.encoder, density.model, {}, info), tmp_path / "champion"
    )
    return str(tmp_path / "champion")


@pytest.mark.parametrize(
    ("ratio", "rows", "old", "every"),
    [
        (None, (100, 60, 40), 160, 1),
        (1.0, (100, 60, 40), 40, 4),
        (9.0, (9, 9, 9), 18, 1),
    ],
)
def test_replay_ratio_are_thinned_to_the_mixture(
    champion: str, ratio: float | None, rows: tuple[int, ...], old: int, every: int
) -> None:
    found = warm_start.describe(champion, parts(*rows), TrainConfig(replay_ratio=ratio))
    assert (found.old_rows, found.new_rows) == (old, rows[2])
    assert found.available_old_rows == rows[0] + rows[1]
    files = {"part-00000": every, "part-00001": every} if every > 1 else {}
    assert found.row_steps == files


def test_without_new_rows_all_old_ones_are_taken(champion: str) -> None:
    found = warm_start.describe(champion, parts(50, 50), TrainConfig(replay_ratio=0.1))
    assert (found.old_rows, found.new_rows, found.row_steps) == (100, 0, {})


def test_every_so_many_th_row_of_a_file_is_read(tmp_path: Path) -> None:
    for k in range(2):
        x = np.arange(k * 100, k * 100 + 10, dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(x), 1)
        batch = pa.record_batch([column], names=["x"])
        with (
            pa.OSFile(str(tmp_path / f"part-{k:05d}.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, batch.schema) as writer,
        ):
            writer.write_batch(batch)
    rows = batches.Rows(tmp_path, {"part-00000": 4})
    found = rows.read([(0, len(rows))], torch.device("cpu"))
    assert found[:, 0].tolist() == [0, 4, 8, *range(100, 110)]


def test_training_begins_with_the_champions_weights(
    pair: ModelPair, champion: str
) -> None:
    model = load(champion).model
    config = {"family": "made", "hidden": 32, "components": 4}
    run = TrainingRun("", pair.prepared, config, train_config(seed=5), {})
    fresh, further = (initial_model(replace(run, start=s)) for s in (None, champion))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(further.state_dict()[name], value)
    weights = fresh.state_dict()
    assert any((weights[n] != v).any() for n, v in model.state_dict().items())


def test_pixels_start_from_frequencies_of_their_own(tmp_path: Path) -> None:
    x = (np.random.default_rng(0).random((400, 4)) < [0.5, 0.9, 0.1, 0.3]) * 255
    rim = np.zeros((400, 1), int)
    columns = {f"x{i}": c for i, c in enumerate(np.hstack([rim, x]).T)}
    path, prepared = str(tmp_path / "images.parquet"), str(tmp_path / "prepared")
    pq.write_table(pa.table({"id": range(400), **columns}), path)
    images = {"x*": {"height": 1, "width": 5}}
    data = {"path": path, "id": ["id"], "images": images}
    prepare.prepare(DataConfig.model_validate(data), prepared, Resources())

    model = {"family": "made", "hidden": 8}
    run = TrainingRun("", prepared, model, train_config(seed=0), {})
    begins = initial_model(run).eval()
    ones = torch.ones(1, 5)
    with torch.no_grad():
        each = begins.conditionals(torch.zeros(1, 5)).log_prob(ones)
        shares = each.exp()[0].tolist()

    assert shares == pytest.approx([0.0, *(x.mean(0) / 255)], abs=0.08)
    assert shares[0] < 0.01


def test_the_network_is_the_champions(champion: str) -> None:
    model = model_config(hidden=32, components=4, ordering="random", dropout=0.1)
    kept = warm_start.network_config(model.model_dump(mode="json"), champion)
    assert (kept["hidden"], kept["dropout"]) == (32, 0.1)
    assert kept["ordering"] == "natural"
    other = model_config(hidden=64, components=4).model_dump(mode="json")
    with pytest.raises(ValueError, match="hidden 64 not 32.*init_from: scratch"):
        warm_start.network_config(other, champion)
    automatic = warm_start.with_champions_width(model_config(), champion)
    assert automatic.settings()["hidden"] == 32
    assert warm_start.with_champions_width(model, champion) == model


def test_other_columns_start_from_scratch(pair: ModelPair) -> None:
    encoder = load(pair.models["strong"]).encoder
    data = DataConfig(path="p", id=("id",))
    schema = pq.read_schema(f"{pair.prepared}/train/part-00000.parquet")
    assert warm_start.find_mismatch(encoder, data, schema) is None
    fewer = schema.remove(schema.get_field_index("count"))
    assert "count" in str(warm_start.find_mismatch(encoder, data, fewer))
    place = schema.get_field_index("count")
    other = schema.set(place, pa.field("count", pa.string()))
    assert "cannot be read as" in str(warm_start.find_mismatch(encoder, data, other))


def test_the_start_of_a_retraining_is_written_down(
    pair: ModelPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pq.read_table(f"{pair.prepared}/train"), tmp_path / "rows.parquet")
    config = Config.model_validate(
        {
            "name": "pinned",
            "data": {"path": str(tmp_path / "rows.parquet"), "id": ["id"]},
            "train": {"init_from": "champion"},
            "resources": {"storage": str(tmp_path / "storage")},
        }
    )
    chosen = warm_start.StartingPoint("there", "4", "it is the champion")
    monkeypatch.setattr(warm_start, "start_from_champion", lambda *_: chosen)
    assert warm_start.choose_start(config, config.data) == chosen
    monkeypatch.setattr(warm_start, "start_from_champion", lambda *_: None)
    assert warm_start.choose_start(config, config.data) == chosen
    assert len(storage.list_files(f"{tmp_path}/storage/pinned/starts")) == 1
    scratch = config.model_copy(update={"train": TrainConfig()})
    assert warm_start.choose_start(scratch, scratch.data).folder is None
