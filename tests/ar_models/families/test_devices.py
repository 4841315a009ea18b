"""All computes on a device of its own as it does on processors."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.base import AutoregressiveModel
from ar_models.kernels import compiled
from ar_models.layers import cuda_graphs
from ar_models.scoring.statistics import statistics_of
from tasks.config.embed import EmbedConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.impute import ImputeConfig
from tasks.config.monitor import MonitorConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.score import ScoreConfig
from tasks.data.batches import Batch
from tasks.evaluation.compare import compare
from tasks.evaluation.evaluate import evaluate
from tasks.inference.embed import embed
from tasks.inference.impute import impute
from tasks.inference.sample import sample
from tasks.inference.score import score
from tasks.inference.source import Source
from tasks.monitoring import reference
from tasks.monitoring.monitor import monitor
from tasks.runtime import cluster
from tasks.training.trainer import Trainer
from tests.support.densities import (
    holes,
    impute_table,
    random_density,
    sample_table,
    score_table,
    table_density,
    with_holes,
)
from tests.support.model_pair import ModelPair, related_table
from tests.support.models import (
    ENSEMBLE_FAMILIES,
    KINDS,
    SEQUENCE_KINDS,
    SMALL_SEQUENCE_MODELS,
    ensemble,
    every_family,
    every_kind_of_family,
    observations,
    random_model,
    random_sequence_model,
    seeded,
)
from tests.support.simulated_device import ELSEWHERE, Elsewhere, Seen, elsewhere
from tests.support.training import train_config

ROWS = 7


@pytest.fixture(autouse=True)
def seen() -> Iterator[Seen]:
    """Simulate a device during a test; yield the operations that waited for it."""
    with elsewhere() as seen:
        yield seen


def back(tensor: Tensor) -> Tensor:
    """Its values; it must be there."""
    assert isinstance(tensor, Elsewhere)
    return tensor.detach().cpu()


def move(model: AutoregressiveModel) -> AutoregressiveModel:
    """Move the model to the device."""
    moved = model.to(ELSEWHERE)
    state = moved.state_dict().values()
    assert state
    assert all(isinstance(tensor, Elsewhere) for tensor in state)
    return moved


def check(model: AutoregressiveModel, atol: float = 1e-5) -> None:
    """Check that a model computes the same on both devices.

    Args:
        model: The model.
        atol: Absolute tolerance of gradients.
    """
    x = observations(model, ROWS)
    compute: dict[str, Callable[[Tensor], Tensor]] = {
        "log_prob": model.log_prob,
        "variable_log_prob": model.variable_log_prob,
        "features": model.features,
        "sample": lambda x: model.sample(len(x), generator=seeded(1)),
    }
    here = {name: function(x).detach() for name, function in compute.items()}
    model.log_prob(x).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()

    there = move(model)
    for name, function in compute.items():
        torch.testing.assert_close(
            back(function(x.to(ELSEWHERE))), here[name], equal_nan=True, msg=name
        )
    there.log_prob(x.to(ELSEWHERE)).sum().backward()
    found = [back(p.grad) for p in there.parameters() if p.grad is not None]
    torch.testing.assert_close(found, gradients, atol=atol, rtol=1.3e-6)


def test_tensors_of_two_devices_do_not_meet(seen: Seen) -> None:
    there = torch.ones(3, device=ELSEWHERE)

    for operation in (
        lambda: there + torch.ones(3),
        lambda: torch.cat([torch.ones(3), there]),
        lambda: there.index_select(0, torch.tensor([1])),
        lambda: torch.where(torch.ones(3) > 0, there, there),
    ):
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            operation()
    assert back(there + torch.tensor(2.0)).tolist() == [3.0, 3.0, 3.0]
    assert seen.waits == ["aten._to_copy.default"]
    assert seen.transfers == []


def test_what_happens_between_the_devices_is_seen(seen: Seen) -> None:
    there = torch.arange(4.0, device=ELSEWHERE)
    assert (seen.waits, seen.transfers) == ([], [])

    there[[0, 1]] = 5.0
    assert (len(seen.waits), len(seen.transfers)) == (0, 1)
    there[there > 3] = 0.0
    assert (len(seen.waits), len(seen.transfers)) == (0, 1)
    assert back(there[there > 1]).tolist() == [2.0, 3.0]
    assert int(there[2]) == 2
    torch.ones(2).to(ELSEWHERE)
    assert (len(seen.waits), len(seen.transfers)) == (3, 2)


def test_views_are_of_the_same_memory() -> None:
    there = torch.zeros(2, 3, device=ELSEWHERE)

    there[1] = torch.ones(3)
    there.T[0].add_(5)

    assert back(there).tolist() == [[5, 0, 0], [6, 1, 1]]


@every_kind_of_family
def test_a_family_computes_there(family: str, kind: str) -> None:
    ordering = "random" if family in {"made", "nade", "eonade", "rnn"} else "natural"
    # The log-mass of an interval z scales away has z times the rounding errors of its
    # location: either device is within 5e-5 of the gradients in float64.
    atol = 1e-4 if kind == "nested" else 1e-5
    check(random_model(family, KINDS[kind], ordering), atol)


@every_kind_of_family
def test_a_step_of_training_does_not_wait(family: str, kind: str, seen: Seen) -> None:
    model = random_model(family, KINDS[kind])
    rows = observations(model, ROWS)
    config = train_config(precision="fp32", ema_decay=0.9, noise=0.1, trim=0.2)
    here = Trainer(copy.deepcopy(model), config, steps=20)
    there = Trainer(model, config, steps=20, device=ELSEWHERE)

    for turn in range(3):
        moved = rows.to(ELSEWHERE)
        seen.clear()
        there.step(Batch(moved, ROWS))
        assert seen.waits == [] or turn == 0
        here.step(Batch(rows, ROWS))

    for name, weight in there.model.state_dict().items():
        expected = here.model.state_dict()[name]
        torch.testing.assert_close(back(weight), expected, atol=1e-4, rtol=1e-3)
    found = there.end_epoch(there.nll([moved]))
    expected = here.end_epoch(here.nll([rows]))
    for key in ("epoch", "train_nll", "valid_nll"):
        assert found[key] == pytest.approx(expected[key], rel=1e-3)
    assert not any(isinstance(weight, Elsewhere) for weight in there.best.values())


def record(work: Callable[[], Tensor], seen: Seen) -> tuple[Callable[[], None], Tensor]:
    """Capture and replay as a CUDA graph does, and fail where it would."""
    work()
    seen.clear()
    drawn = work()
    assert seen == Seen([], [])

    def repeat() -> None:
        drawn.copy_(work())

    return repeat, drawn


@every_kind_of_family
def test_a_recorded_draw_is_the_draw(
    family: str, kind: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        made.append(work)
        return record(work, seen)

    ordering = "random" if family in {"made", "nade", "eonade", "rnn"} else "natural"
    model = random_model(family, KINDS[kind], ordering)
    rows = [model.sample(ROWS, generator=seeded(k)) for k in range(4)]
    monkeypatch.setattr(cuda_graphs, "CAPTURERS", {ELSEWHERE.type: counted})
    move(model)

    for turn in range(4):
        found = model.sample(ROWS, generator=seeded(turn))
        torch.testing.assert_close(back(found), rows[turn], equal_nan=True)
    assert 0 < len(made) <= model.orderings

    # New weights are noticed, and a copy has recordings of its own.
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1)
    expected = copy.deepcopy(model).cpu().sample(ROWS, generator=seeded(9))
    found = model.sample(ROWS, generator=seeded(9))
    torch.testing.assert_close(back(found), expected, equal_nan=True)
    found = other.sample(ROWS, generator=seeded(2))
    torch.testing.assert_close(back(found), rows[2], equal_nan=True)


@every_family
def test_a_recording_is_of_one_precision(
    family: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(family, KINDS["binary"], "natural")
    move(model)

    def draw(precision: str) -> Tensor:
        rough = precision == "bf16"
        with torch.autocast(ELSEWHERE.type, dtype=torch.bfloat16, enabled=rough):
            return back(model.sample(ROWS, generator=seeded(0)))

    plain = {precision: draw(precision) for precision in ("fp32", "bf16")}
    made = []

    def counted(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        made.append(work)
        return record(work, seen)

    monkeypatch.setattr(cuda_graphs, "CAPTURERS", {ELSEWHERE.type: counted})
    for _ in range(3):
        for precision, expected in plain.items():
            torch.testing.assert_close(draw(precision), expected, equal_nan=True)
    assert len(made) == 2


@pytest.mark.parametrize("family", SMALL_SEQUENCE_MODELS)
@pytest.mark.parametrize("kind", SEQUENCE_KINDS)
def test_a_family_over_places_computes_there(family: str, kind: str) -> None:
    check(random_sequence_model(family, kind))


@pytest.mark.parametrize("family", ENSEMBLE_FAMILIES)
def test_an_ensemble_computes_there(family: str) -> None:
    check(ensemble(family))


def there(density: TableDensity, folder: Path) -> TableDensity:
    """Load the saved density onto the device."""
    save_density(density, folder)
    return load_density(folder, ELSEWHERE)


def check_alike(found: object, expected: object) -> None:
    """Values equal up to rounding, within lists and mappings."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            check_alike(found[name], value)
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            check_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
    else:
        assert found == expected


def test_rows_are_judged_there(tmp_path: Path) -> None:
    density = table_density()
    rows = sample_table(density, 30, seed=3)
    loaded = there(density, tmp_path / "model")

    assert sample_table(loaded, 30, seed=3).equals(rows)
    np.testing.assert_allclose(loaded.features(rows), density.features(rows))
    for statistic in statistics_of(density.model):
        one, other = (
            score_table(d, rows, statistic=statistic, column_log_prob=True)
            for d in (density, loaded)
        )
        check_alike(other.to_pylist(), one.to_pylist())
    kept = density.reference_scores(rows)
    for name, values in loaded.reference_scores(rows).items():
        np.testing.assert_allclose(values, kept[name], rtol=1e-6)


@pytest.mark.parametrize("family", ["eonade", "transformer"])
def test_empty_cells_are_filled_there(family: str, tmp_path: Path) -> None:
    density = random_density(family)
    rows = with_holes(density, sample_table(density, 4, seed=2), seed=0)
    loaded = there(density, tmp_path / "model")

    for method in ("draw", "median"):
        one, other = (
            impute_table(d, rows, method=method, seed=1) for d in (density, loaded)
        )
        check_alike(other.to_pylist(), one.to_pylist())
    given = rows.select(density.columns[:2])
    one, other = (sample_table(d, 4, seed=4, given=given) for d in (density, loaded))
    check_alike(other.to_pylist(), one.to_pylist())
    one, other = (
        score_table(d, rows, statistic="leave_one_out", missing="marginalise")
        for d in (density, loaded)
    )
    check_alike(other.to_pylist(), one.to_pylist())


EVALUATION = EvaluateConfig(resamples=20)
SHARDS = SampleConfig(rows=300, rows_per_shard=100)
HERE = Resources()


def raw(pair: ModelPair) -> str:
    """Return the rows of the models."""
    return str(Path(pair.prepared).parent / "raw")


JOBS: dict[str, Callable[[str, ModelPair, str], object]] = {
    "score": lambda m, j, to: score(m, Source(raw(j)), to, ScoreConfig(fdr=0.1), HERE),
    "sample": lambda m, j, to: sample(m, to, SHARDS, HERE),
    "embed": lambda m, j, to: embed(m, Source(raw(j)), to, EmbedConfig(), HERE),
    "monitor": lambda m, j, to: monitor(m, Source(raw(j)), to, MonitorConfig(), HERE),
    "evaluate": lambda m, j, to: evaluate(m, j.prepared, to, EVALUATION, HERE),
    "compare": lambda m, j, to: compare(
        (m, j.models["weak"]), Source(raw(j)), to, EVALUATION, HERE
    ),
}
"""Each job that computes in Ray's processes, but impute, which needs another model."""


@pytest.fixture(scope="module")
def remembering(pair: ModelPair, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the strong model, whose reference data describe new rows."""
    folder = tmp_path_factory.mktemp("remembering") / "model"
    shutil.copytree(pair.models["strong"], folder)
    density, rows = load_density(folder), related_table(500, seed=5)
    known = reference.build(density, lambda: [rows])
    (folder / reference.FILE).write_text(json.dumps(known.to_dict()))
    return str(folder)


@pytest.fixture
def check_job(
    in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[str], object]], None]:
    """Run a job on both devices, given its output, and compare the rows."""
    # Loops round otherwise than operations, and then a row may change its bin.
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)

    def check(run: Callable[[str], object]) -> None:
        run(str(tmp_path / "here"))
        monkeypatch.setattr(cluster, "device", lambda: ELSEWHERE)
        run(str(tmp_path / "there"))
        written = (tmp_path / "here").rglob("*.parquet")
        files = sorted(path.relative_to(tmp_path / "here") for path in written)
        assert files
        for file in files:
            one, other = (
                pq.read_table(tmp_path / at / file) for at in ("here", "there")
            )
            check_alike(other.to_pylist(), one.to_pylist())

    return check


@pytest.mark.parametrize("job", JOBS)
def test_a_job_computes_there(
    job: str,
    pair: ModelPair,
    remembering: str,
    check_job: Callable[[Callable[[str], object]], None],
) -> None:
    check_job(lambda to: JOBS[job](remembering, pair, to))


def test_impute_computes_there(
    tmp_path: Path, check_job: Callable[[Callable[[str], object]], None]
) -> None:
    density = random_density("eonade")
    save_density(density, tmp_path / "model")
    rows = sample_table(density, 6, seed=2)
    empty = holes(rows["carrier"], np.random.default_rng(0))
    at = rows.column_names.index("carrier")
    source = tmp_path / "rows.parquet"
    pq.write_table(rows.set_column(at, "carrier", empty), source)

    check_job(
        lambda to: impute(
            str(tmp_path / "model"), str(source), to, ImputeConfig(), HERE
        )
    )
