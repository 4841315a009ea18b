import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tests.support.densities import sample_table
from tests.support.tables import table_encoder


def test_samples_have_the_original_columns_and_types(rows: pa.Table) -> None:
    assert rows.schema.equals(table_encoder().schema)
    assert set(rows["year"].to_pylist()) == {2013}
    assert rows["delay"].null_count > 0


def test_seed_and_stream_fix_the_samples(density: TableDensity) -> None:
    first = sample_table(density, 5000, seed=1, stream=7)
    assert first.equals(sample_table(density, 5000, seed=1, stream=7))
    assert first.slice(0, 4500).equals(sample_table(density, 4500, seed=1, stream=7))
    assert not first.equals(sample_table(density, 5000, seed=1, stream=8))
    assert not first.equals(sample_table(density, 5000, seed=2, stream=7))


def test_sampled_log_prob_is_that_of_the_rows(density: TableDensity) -> None:
    drawn = sample_table(density, 500, seed=4, log_prob=True)
    np.testing.assert_allclose(drawn["log_prob"], density.log_prob(drawn), atol=1e-5)


def test_temperature_and_top_p_sharpen_the_rows(agnostic: TableDensity) -> None:
    plain = sample_table(agnostic, 500, seed=1)

    assert sample_table(agnostic, 500, seed=1, temperature=1.0, top_p=1.0).equals(plain)
    cold = sample_table(agnostic, 500, seed=1, temperature=0.3)
    narrow = sample_table(agnostic, 500, seed=1, top_p=0.5)
    # Their shares are about 0.5 and 0.2.
    common, seldom = (
        [t["carrier"].to_pylist().count(name) for t in (plain, cold, narrow)]
        for name in ("UA", "B6")
    )
    assert common[1] > common[0] + 50
    assert seldom[1] < seldom[0] / 2
    assert seldom[2] < seldom[0] / 4
