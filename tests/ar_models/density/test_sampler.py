import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.density.table_density import TableDensity
from tests.support.constraints import fares_density
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


def test_samples_satisfy_what_always_held_and_have_no_undefined_cells() -> None:
    for family in ("made", "transformer", "rnn"):
        density = fares_density(family)
        rows = sample_table(density, 1000, seed=2)
        total = pc.add(rows["fare"], rows["tip"])
        assert rows["total"].equals(total)
        # Pairs that the look-up table lacks are drawn again.
        assert rows["level"].null_count == 0
        assert not rows.filter(
            pc.and_(pc.equal(rows["town"], "z"), pc.greater(rows["kind"], 0))
        )
        assert rows.slice(0, 500).equals(sample_table(density, 500, seed=2))
        assert not density.encoder.out_of_support(rows).any()


def test_derived_cells_follow_from_given_ones() -> None:
    density = fares_density("eonade")
    rows = sample_table(density, 50, seed=1, given={"fare": 20, "distance": 1.2345678})
    assert set(rows["fare"].to_pylist()) == {20}
    assert rows["total"].equals(pc.add(rows["fare"], rows["tip"]))
    copied = pc.equal(rows["copy"], 1.2345678)
    assert 0 < pc.sum(copied).as_py() < 50
    solved = sample_table(density, 5, seed=1, given={"fare": 20, "total": 23})
    assert solved["tip"].to_pylist() == [3] * 5
