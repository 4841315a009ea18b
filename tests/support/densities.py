"""Scores, samples and imputations of a density by options given as keywords."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ar_models.density.imputer import ImputeOptions, Imputer
from ar_models.density.sampler import SampleOptions, Sampler
from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from ar_models.scoring.conformal import Rule
from ar_models.scoring.nearness import Nearness
from tests.support.columns import fit_columns
from tests.support.models import perturbed
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
    encoder = table_encoder()
    settings = {"hidden": 32, "components": 4, **config}
    model = perturbed("made", encoder.variables, 0.1, **settings)
    density = TableDensity(encoder, model)
    stored = encoder.encode(sample_table(density, 300, seed=2)).x
    density.nearness = Nearness.of(encoder, stored)
    density.calibration = density.reference_scores(sample_table(density, 2000, seed=1))
    density.info = {"name": "flights", "fingerprints": {"dataset": "abc"}}
    return density


SMALL: dict[str, dict[str, Any]] = {
    "made": {"hidden": 32, "components": 4},
    "eonade": {"hidden": 32, "components": 4, "orderings": 2},
    "transformer": {
        "hidden": 16,
        "layers": 1,
        "heads": 2,
        "components": 4,
        "ordering": "random",
        "order_agnostic": True,
    },
    "vae": {"latent": 2, "hidden": 16, "samples": 4},
}


def random_density(family: str, **more: Any) -> TableDensity:
    """Return a density of `table_encoder`'s rows with random weights."""
    encoder = table_encoder()
    settings = SMALL[family] | more
    return TableDensity(encoder, perturbed(family, encoder.variables, 0.1, **settings))


def holes(column: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    """Empty a third of the cells of a column."""
    gone = pa.array(rng.random(len(column)) < 1 / 3)
    return pc.if_else(gone, pa.scalar(None, column.type), column).combine_chunks()


def with_holes(density: TableDensity, rows: pa.Table, seed: int = 1) -> pa.Table:
    """Empty a third of the cells of each modelled column."""
    rng = np.random.default_rng(seed)
    for name in density.columns:
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, holes(rows[name], rng))
    return rows


def odd_row(**cells: object) -> pa.Table:
    """Return one row, ordinary but for `cells`."""
    usual = {
        "carrier": "UA",
        "delay": 5,
        "time": datetime(2013, 1, 1, 12),
        "amount": 5.0,
    }
    schema = table_encoder().schema
    fields = [schema.field(name) for name in usual]
    return pa.Table.from_pylist([usual | cells], schema=pa.schema(fields))


def awkward_table(rows: int, seed: int = 0) -> pa.Table:
    """Return columns nearly constant, exactly dependent, unique or heavy-tailed."""
    rng = np.random.default_rng(seed)
    amount = rng.standard_t(1.5, rows)
    word = np.array(["red", "green", "blue", "grey"])[
        rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    ]
    return pa.table(
        {
            "amount": amount,
            "copy": 3 * amount,
            "often 0": np.where(rng.random(rows) < 0.7, 0.0, rng.random(rows)),
            "nearly constant": (np.arange(rows) % 300 == 0).astype(np.int64),
            "number": np.arange(rows) * 7919 % 100_003,
            "word": word,
            "maybe": pa.array(
                rng.poisson(np.char.str_len(word.astype(str)) * 2.0),
                mask=rng.random(rows) < 0.2,
            ),
        }
    )


def learn(table: pa.Table) -> TableDensity:
    """Train a small model of a table briefly, calibrated on its last rows."""
    encoder = fit_columns(table)
    x = torch.from_numpy(encoder.encode(table).x)
    torch.manual_seed(0)
    settings = {"hidden": 24, "layers": 1, "components": 2, "orderings": 2}
    model = EoNADE(encoder.variables, EoNADE.Settings(**settings))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for batch in x[:-400].split(200) * 10:
        optimizer.zero_grad()
        (-model.log_prob(batch).mean()).backward()
        optimizer.step()
    density = TableDensity(encoder, model)
    density.nearness = Nearness.of(encoder, x[:-400].numpy())
    density.calibration = density.reference_scores(table.slice(len(table) - 400))
    return density
