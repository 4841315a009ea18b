"""The jobs `prepare` and `train` in this process, for many small datasets.

The same functions run as in the jobs, with the configuration that `chainrule init`
proposes, but without Ray, files of results and checkpoints.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ar_models.density.table_density import TableDensity
from ar_models.density.violation_weights import fit_violation_weights
from ar_models.families import registry
from ar_models.scoring.nearness import Nearness, stored_rows
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.config.model import ModelConfig, model_config
from tasks.config.train import TrainConfig
from tasks.data.batches import Batch
from tasks.data.constraint_search import with_constraints
from tasks.data.decimal_types import preview_decimal_types
from tasks.data.division import PreparePlan, divide_fragment
from tasks.data.fit import fit_encoder
from tasks.data.splits import SPLITS
from tasks.data.survey import check_splits, merge_surveys, survey_fragment
from tasks.data.training_data import open_training_data
from tasks.training import defaults, orderings
from tasks.training.trainer import Trainer, train_epoch


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset in memory.

    Attributes:
        encoder: Encoder that was fitted to the train rows.
        splits: Rows of each split.
    """

    encoder: TableEncoder
    splits: dict[str, pa.Table]


def prepare(rows: pa.Table, seed: int) -> Prepared:
    """Split rows and fit an encoder to them as the job `prepare` does.

    Args:
        rows: The dataset.
        seed: Seed of the hash by which rows are split.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(rows, path)
        data = DataConfig.model_validate({"path": str(path), "split": {"seed": seed}})
        dataset = open_training_data(data)
        fragments = dataset.fragments
        plan = preview_decimal_types(PreparePlan.of(dataset, data), fragments)
        plan = with_constraints(plan, fragments, dataset.schema)
        surveys = [survey_fragment(plan, fragment) for fragment in fragments]
        survey, _ = merge_surveys(list(fragments), surveys, plan)
        check_splits(survey, data, len(rows))
        encoder, _ = fit_encoder(survey, plan, dataset.schema)
        divided = [divide_fragment(plan, fragment) for fragment in fragments]
    table = pa.concat_tables([part.table for part in divided])
    codes = np.concatenate([part.codes for part in divided])
    splits = {n: table.filter(pa.array(codes == k)) for k, n in enumerate(SPLITS)}
    return Prepared(encoder, splits)


def fit(
    rows: pa.Table,
    seed: int,
    model: ModelConfig | None = None,
    training: TrainConfig | None = None,
) -> TableDensity:
    """Fit a density to rows and calibrate it, with the default configuration.

    Args:
        rows: The dataset.
        seed: Seed of the splits, the weights and the batches.
        model: Configuration of the network; default: what `chainrule init` proposes.
        training: Configuration of training, likewise.
    """
    prepared = prepare(rows, seed)
    encoder, splits = prepared.encoder, prepared.splits
    network, config = defaults.resolve(
        model or model_config(),
        training or TrainConfig(),
        len(splits["train"]),
        len(encoder.columns),
    )
    config = config.model_copy(update={"seed": seed})
    settings = network.settings()
    if settings.get("ordering") == "auto":
        count = settings.get("orderings", 1)
        settings["ordering"] = orderings.automatic(encoder.variables, count)
    torch.manual_seed(seed)
    built = registry.build(
        network.family,
        encoder.variables,
        ensemble=network.ensemble,
        **(settings | {"seed": seed}),
    )
    x = torch.from_numpy(encoder.encode(splits["train"]).x)
    valid = torch.from_numpy(encoder.encode(splits["valid"]).x)
    batches = -(-len(x) // config.batch_size)
    trainer = Trainer(built, config, steps=config.epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    while trainer.state.stopped is None:
        order = torch.randperm(len(x), generator=generator).split(config.batch_size)
        train_epoch(trainer, (Batch(x[r], len(r)) for r in order), lambda: False)
        trainer.end_epoch(trainer.nll(valid.split(config.batch_size)))
    built.load_state_dict(trainer.best)
    density = fit_violation_weights(TableDensity(encoder, built))
    stored = x.numpy()[:: -(-len(x) // stored_rows(encoder.dim))]
    density.nearness = Nearness.of(encoder, stored)
    density.calibration = density.reference_scores(splits["calibration"])
    return density
