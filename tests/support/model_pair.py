"""A small dataset of related columns, and a weak and a strong model of it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.registry import build
from ar_models.scoring.nearness import Nearness
from tasks.config.data import DataConfig, SplitConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.gate import GateConfig
from tasks.config.resources import Resources
from tasks.data import prepare
from tasks.data.prepared import read_encoder
from tasks.evaluation import baseline, evaluate
from tasks.evaluation.evaluate import EvaluationResult
from tasks.monitoring import reference
from tasks.registry import downloads, promotion, registration, tracking
from tasks.registry.gate import gate
from tasks.registry.promotion import Promotion
from tasks.runtime import manifest, storage


@dataclass(frozen=True)
class ModelPair:
    """A small prepared dataset and two models of it, evaluated.

    Attributes:
        prepared: Folder of the prepared dataset.
        models: Folders of the models by name: `weak` knows little more than single
            columns, `strong` has learned.
        evaluations: The result of each evaluation.
    """

    prepared: str
    models: dict[str, str]
    evaluations: dict[str, EvaluationResult] = field(default_factory=dict)

    def evaluate(
        self, name: str, output: Path | str, **config: Any
    ) -> EvaluationResult:
        """Evaluate a model; the settings are keys of the section `evaluate`."""
        settings = EvaluateConfig.model_validate({"resamples": 200, **config})
        model = self.models[name]
        return evaluate.evaluate(
            model, self.prepared, str(output), settings, Resources()
        )


def related_table(rows: int, seed: int) -> pa.Table:
    """Return a table of related columns, one of each kind."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    count = rng.poisson(4 + 20 * kind)
    amount = np.where(rng.random(rows) < 0.3, 0.0, rng.lognormal(kind, 0.3))
    start = np.datetime64("2024-03-01T00:00:00")
    seconds = rng.integers(0, 30 * 86_400, rows) // 60 * 60
    return pa.table(
        {
            "id": pa.array(np.arange(rows) + seed * rows),
            "kind <b>": pa.array(np.array(["x", "y", "z & more"])[kind]),
            "count": pa.array(count, mask=rng.random(rows) < 0.1 * kind),
            "amount": pa.array(amount),
            "time": pa.array(start + seconds.astype("timedelta64[s]")),
            "large": pa.array(count > 20),
            "nothing": pa.nulls(rows, pa.string()),
        }
    )


def build_model_pair(root: Path) -> ModelPair:
    """Prepare the dataset below `root`, train and evaluate both models."""
    (root / "raw").mkdir()
    for part in range(2):
        pq.write_table(related_table(1500, seed=part), root / "raw" / f"{part}.parquet")
    split = SplitConfig(valid=0.1, calibration=0.2, test=0.2)
    data = DataConfig(path=str(root / "raw"), id=("id",), split=split)
    resources = Resources(storage=str(root / "storage"))
    prepared = prepare.prepare(data, str(root / "prepared"), resources).path
    models = {
        name: train_made(prepared, root / name, steps)
        for name, steps in (("weak", 3), ("strong", 150))
    }
    pair = ModelPair(prepared, models)
    for name in models:
        pair.evaluations[name] = pair.evaluate(name, root / f"evaluation-{name}")
    return pair


def train_made(prepared: str, folder: Path, steps: int) -> str:
    """Train a MADE for a number of steps and return its folder."""
    return train_small("made", prepared, folder, steps, hidden=32, components=4)


def train_small(
    family: str, prepared: str, folder: Path, steps: int, **settings: Any
) -> str:
    """Train a model of a family for a number of steps and return its folder."""
    about = storage.read_json(f"{prepared}/_manifest.json")
    encoder = read_encoder(prepared)
    x = baseline.read_training_rows(prepared, about, 10_000)
    torch.manual_seed(0)
    model = build(family, encoder.variables, **settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for epoch in range(1, steps + 1):
        rows = torch.randint(len(x), (256,))
        loss = -model(x[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        nll = loss.item()
        history.append({"epoch": epoch, "train_nll": nll, "valid_nll": nll})
    tables = [
        pq.read_table(f"{prepared}/{entry['path']}")
        for entry in about["files"]
        if entry["path"].startswith("calibration/")
    ]
    density = TableDensity(encoder, model, info={"name": "small"})
    density.nearness = Nearness.of(encoder, x.numpy())
    density.calibration = density.reference_scores(pa.concat_tables(tables))
    manifest.claim(str(folder), f"train-{steps}")
    save_density(density, folder)
    content = reference.build(density, lambda: tables).to_dict()
    (folder / reference.FILE).write_text(json.dumps(content))
    manifest.finish(str(folder), f"train-{steps}", history=history)
    return str(folder)


def register_and_gate(
    pair: ModelPair, name: str, model: str, **config: Any
) -> Promotion:
    """Register one of the models in a run of its own and let the gate judge it."""
    run_id = tracking.start(name, model, {"model": model}, {"dataset": "d"})
    found = registration.register(
        name,
        pair.models[model],
        pair.evaluations[model].path,
        pair.prepared,
        run_id,
        tags={"flow_run_id": "f"},
    )
    root = Path(pair.prepared).parent / "gated"
    incumbent = None
    if found.incumbent_uri:
        incumbent = downloads.download(found.incumbent_uri, str(root)).folder
    settings = GateConfig.model_validate(
        {"load_check": "none", "column_margin": 1.0, **config}
    )
    verdict = gate.gate(
        pair.models[model],
        incumbent,
        pair.prepared,
        f"{root}/{{key}}",
        settings,
    )
    decided = promotion.promote_if_passed(name, found.version, verdict, run_id)
    tracking.finish(run_id)
    return decided
