from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.scoring.column_log_prob import padded_size
from ar_models.scoring.statistics import statistics_of
from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference import score
from tasks.inference.source import Source
from tests.support.densities import (
    awkward_table,
    random_density,
    sample_table,
    score_table,
    with_holes,
)
from tests.support.tables import small_table


@pytest.fixture(scope="module", params=["eonade", "transformer"])
def density(request: pytest.FixtureRequest) -> TableDensity:
    """Return an order-agnostic density, calibrated on its own samples."""
    density = random_density(request.param)
    calibration = density.reference_scores(sample_table(density, 300, seed=1))
    return TableDensity(density.encoder, density.model, calibration)


@pytest.fixture(scope="module")
def gaps(density: TableDensity) -> pa.Table:
    """Return rows of which a third of the cells are empty."""
    return with_holes(density, sample_table(density, 100, seed=2))


def test_known_cells_have_their_marginal_probability(
    density: TableDensity, gaps: pa.Table
) -> None:
    found = density.column_log_prob(gaps, missing="marginalise")

    nulls = np.stack([gaps[n].is_null().to_numpy() for n in density.columns], axis=1)
    assert nulls.any() and (found[nulls] == 0).all()
    encoded = density.encoder.encode(gaps)
    columns = [variable.column_index for variable in density.encoder.variables]
    known = torch.from_numpy(~nulls[:, columns])
    x = torch.from_numpy(encoded.x)
    with torch.inference_mode():
        network = density.model.marginal_log_prob(x, known).numpy()
    volume = np.where(nulls, 0, encoded.log_abs_det).sum(axis=1)
    np.testing.assert_allclose(found.sum(axis=1), network + volume, atol=1e-3)
    modelled = density.column_log_prob(gaps)
    assert (modelled[nulls] != 0).all()


def test_rows_without_nulls_are_scored_as_ever(density: TableDensity) -> None:
    rows = sample_table(density, 200, seed=3).drop_null()

    plain = density.log_prob(rows)

    np.testing.assert_allclose(
        density.log_prob(rows, missing="marginalise"), plain, atol=1e-3
    )


def test_empty_rows_are_certain(density: TableDensity) -> None:
    schema = density.encoder.schema
    nothing = pa.table([pa.nulls(3, f.type) for f in schema], schema=schema)
    assert density.log_prob(nothing, missing="marginalise").tolist() == [0.0] * 3


def test_every_statistic_takes_nulls_for_unknown(
    density: TableDensity, gaps: pa.Table
) -> None:
    for statistic in statistics_of(density.model):
        scored = score_table(
            density, gaps, statistic=statistic, missing="marginalise", explain="none"
        )
        scores = scored["anomaly_score"].to_numpy()
        assert np.isfinite(scores).all(), statistic
        other = score_table(density, gaps, statistic=statistic, explain="none")
        assert not np.allclose(scores, other["anomaly_score"].to_numpy()), statistic


def test_other_families_refuse(small_model: str, tmp_path: Path) -> None:
    made = random_density("made")
    with pytest.raises(ValueError, match="MADE cannot marginalise .* eonade"):
        made.log_prob(sample_table(made, 2, seed=1), missing="marginalise")
    with pytest.raises(ValueError, match="missing must be 'model' or 'marginalise'"):
        made.log_prob(sample_table(made, 2, seed=1), missing="drop")  # type: ignore[arg-type]
    pq.write_table(small_table(5), tmp_path / "rows.parquet")
    config = ScoreConfig(missing="marginalise")
    with pytest.raises(ValueError, match="cannot marginalise"):
        score.score(
            small_model,
            Source(str(tmp_path / "rows.parquet")),
            str(tmp_path / "out"),
            config,
            Resources(),
        )
    assert not (tmp_path / "out").exists()


def test_rows_in_bf16_are_the_same_alone_and_among_others(
    learned: TableDensity,
) -> None:
    rows = awkward_table(301, seed=5)

    together, alone = (
        pa.concat_tables(
            score_table(
                learned, rows.slice(start, size), precision="bf16", explain="none"
            )
            for start in range(0, 301, size)
        )
        for size in (301, 43)
    )

    for name in ("log_prob", "anomaly_score"):
        np.testing.assert_allclose(together[name], alone[name], atol=1e-4, rtol=1e-4)
    assert [padded_size(n) for n in (0, 1, 7, 8, 9, 100, 1696, 4096)] == [
        *(0, 1, 7, 8, 10, 112, 1792, 4096)
    ]
