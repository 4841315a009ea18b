"""Scores, samples and imputations of a density by options given as keywords."""

from typing import Any

import pyarrow as pa
import torch

from ar_models.density.imputer import ImputeOptions, Imputer
from ar_models.density.sampler import SampleOptions, Sampler
from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.families.registry import build
from ar_models.scoring.conformal import Rule
from tests.support.tables import table_encoder


def score_table(density: TableDensity, table: pa.Table, **options: Any) -> pa.Table:
    """Score a table; threshold, fdr or budget become the rule."""
    rule = Rule.of(
        *(options.pop(name, None) for name in ("threshold", "fdr", "budget"))
    )
    return Scorer(density, ScoreOptions(rule=rule, **options)).score(table)


def sample_table(
    density: TableDensity,
    count: int,
    *,
    seed: int,
    stream: int = 0,
    given: Any = None,
    missing: Any = (),
    **options: Any,
) -> pa.Table:
    """Draw rows from a density."""
    sampler = Sampler(density, SampleOptions(**options))
    return sampler.sample(count, seed=seed, stream=stream, given=given, missing=missing)


def impute_table(
    density: TableDensity,
    table: pa.Table,
    *,
    seed: int = 0,
    stream: int = 0,
    **options: Any,
) -> pa.Table:
    """Fill the nulls of a table."""
    imputer = Imputer(density, ImputeOptions(**options))
    return imputer.impute(table, seed=seed, stream=stream)


def table_density(**config: object) -> TableDensity:
    """Build a density with random weights, calibrated on its own samples."""
    torch.manual_seed(0)
    encoder = table_encoder()
    model = build("made", encoder.variables, hidden=32, components=4, **config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    density = TableDensity(encoder, model)
    calibration = density.reference_scores(sample_table(density, 2000, seed=1))
    info = {"name": "flights", "fingerprints": {"dataset": "abc"}}
    return TableDensity(encoder, model, calibration, info)
