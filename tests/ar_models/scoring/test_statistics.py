"""Statistics of encoded rows: what they add up to, and what they do not depend on."""

from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from ar_models.families.independent import Independent
from ar_models.scoring.choices import DISTANCES, STATISTICS, Precision, Statistic
from ar_models.scoring.statistics import score_batch, statistics_of
from tests.support.columns import fit_columns
from tests.support.densities import (
    awkward_table,
    learn,
    odd_row,
    sample_table,
    score_table,
    table_density,
)


@pytest.fixture(scope="module")
def density() -> TableDensity:
    return table_density()


@pytest.fixture(scope="module")
def rows(density: TableDensity) -> pa.Table:
    return sample_table(density, 4000, seed=3)


def recoded(table: pa.Table) -> pa.Table:
    """Return the rows with amounts in another unit and other words."""
    amount = pa.array(table["amount"].to_numpy() * 1024.0)
    names = {"red": "z", "green": "a", "blue": "y", "grey": "b"}
    word = pa.array([names[word] for word in table["word"].to_pylist()])
    for name, column in (("amount", amount), ("word", word)):
        place = table.column_names.index(name)
        table = table.set_column(place, name, column)
    return table


@pytest.mark.parametrize("statistic", STATISTICS)
def test_units_and_the_order_of_codes_change_no_p_value(
    learned: TableDensity, recoded_density: TableDensity, statistic: Statistic
) -> None:
    rows = awkward_table(300, seed=1)

    one = score_table(learned, rows, statistic=statistic, explain="none")
    other = score_table(
        recoded_density, recoded(rows), statistic=statistic, explain="none"
    )

    assert one["p_value"].to_pylist() == other["p_value"].to_pylist()


@pytest.fixture(scope="module")
def recoded_density() -> TableDensity:
    return learn(recoded(awkward_table(1400)))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_awkward_columns_leave_rows_apart(
    learned: TableDensity, statistic: Statistic
) -> None:
    rows = awkward_table(300, seed=1)
    scored = score_table(learned, rows, statistic=statistic, explain="none")
    scores = scored["anomaly_score"].to_numpy()
    assert np.isfinite(scores).all()
    assert len(np.unique(scores.round(6))) > 250


@pytest.mark.parametrize(
    "statistic", ["combined", "surplus", "excess", "tail", "density"]
)
def test_awkward_columns_do_not_run_the_show(
    learned: TableDensity, statistic: Statistic
) -> None:
    scored = score_table(learned, awkward_table(300, seed=1), statistic=statistic)

    blamed = [row[0]["column"] for row in scored["explanation"].to_pylist()]
    shares = np.unique(blamed, return_counts=True)[1] / len(blamed)
    assert len(shares) >= 5
    assert shares.max() < 0.5


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_values_of_held_out_rows_are_uniform(
    learned: TableDensity, statistic: Statistic
) -> None:
    rows = awkward_table(2000, seed=2).filter(
        pa.array(np.arange(2000) % 300 != 0)  # else a third value of the row number
    )
    scored = score_table(learned, rows, statistic=statistic, explain="none")
    p = np.sort(scored["p_value"].to_numpy())
    # Kolmogorov and Smirnov, 1993 against 400 rows: beyond 0.15 once in a million.
    assert np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max() < 0.15


def test_one_ordering_tells_nothing_of_uncertainty(density: TableDensity) -> None:
    assert score_table(density, odd_row())["uncertainty"].null_count == 1


@pytest.mark.parametrize("statistic", ["excess", "surprisal", "tail", "density"])
def test_uncertainty_is_the_spread_over_orderings(
    learned: TableDensity, statistic: Statistic
) -> None:
    rows = awkward_table(50, seed=3)
    encoded = learned.encoder.encode(rows)
    each = []
    for which in range(2):
        alone = EoNADE(
            learned.model.variables, EoNADE.Settings(**(learned.model.config()))
        )
        alone.load_state_dict(learned.model.state_dict())
        alone.eval().orderings = 1
        alone.ordering_table = learned.model.ordering_table[[which]]
        each.append(score_batch(alone, encoded, statistic).contributions.sum(axis=1))

    found = score_table(learned, rows, statistic=statistic)["uncertainty"].to_numpy()

    np.testing.assert_allclose(found, np.std(each, axis=0, ddof=1), atol=1e-3)


def test_leaving_one_out_sees_all_other_columns(learned: TableDensity) -> None:
    rows = awkward_table(40, seed=4)
    encoded = learned.encoder.encode(rows)
    x = torch.from_numpy(encoded.x)
    place = learned.columns.index("copy")
    span = learned.encoder.span(place)
    assert span.stop - span.start == 1
    known = ~x.isnan()
    known[:, span] = False
    with torch.inference_mode():
        given = learned.model.conditionals_given(x, known).log_prob(x)[:, span.start]

    found = score_batch(learned.model, encoded, "leave_one_out").contributions[:, place]

    np.testing.assert_allclose(found, -given.numpy(), rtol=1e-5, atol=1e-5)


def test_the_ratio_is_nothing_where_columns_are_independent() -> None:
    encoder = fit_columns(awkward_table(1400))
    model = Independent(encoder.variables, Independent.Settings()).eval()
    encoded = encoder.encode(awkward_table(20, seed=1))
    found = score_batch(model, encoded, "ratio").contributions
    np.testing.assert_allclose(
        np.where(encoded.out_of_support == 0, found, 0), 0, atol=1e-4
    )


def test_marginal_tails_add_what_each_column_says_by_itself(
    learned: TableDensity,
) -> None:
    rows = awkward_table(300, seed=1)
    far = rows.set_column(0, "amount", pa.array(rows["amount"].to_numpy() * 1e3))
    place = rows.column_names.index("maybe")
    moved = pa.concat_arrays([rows["maybe"].chunk(0)[1:], rows["maybe"].chunk(0)[:1]])

    def added(table: pa.Table) -> np.ndarray:
        marginal_tails, density = (
            score_table(learned, table, statistic=name, explain="none")["anomaly_score"]
            for name in ("marginal_tail", "density")
        )
        return np.asarray(marginal_tails) - np.asarray(density)

    # Far values beside other neighbours add just as much.
    here = added(far) - added(rows)
    there = added(far.set_column(place, "maybe", moved))
    there -= added(rows.set_column(place, "maybe", moved))
    np.testing.assert_allclose(here, there, atol=1e-4)
    assert here.mean() > 1


def test_density_weighs_how_sparse_values_are() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"amount": rng.lognormal(0, 2, 3000)})
    encoder = fit_columns(table)
    model = Independent(encoder.variables, Independent.Settings()).eval()
    sparse, dense = np.quantile(table["amount"].to_numpy(), [0.9, 0.1])
    encoded = encoder.encode(pa.table({"amount": [sparse, dense]}))

    excess = score_batch(model, encoded, "excess").contributions[:, 0]
    density = score_batch(model, encoded, "density").contributions[:, 0]

    # Equally far from the middle by rank, but the neighbours are 160 times as far off.
    assert abs(excess[0] - excess[1]) < 0.3
    assert 4 < density[0] - density[1] < 6
    everything = encoder.encode(table)
    mean = (score_batch(model, everything, "density").contributions).mean()
    assert (
        abs(mean - score_batch(model, everything, "excess").contributions.mean()) < 0.1
    )


def test_the_max_column_is_led_by_the_most_anomalous_column(
    learned: TableDensity,
) -> None:
    encoded = learned.encoder.encode(awkward_table(300, seed=1))
    density = score_batch(learned.model, encoded, "density").contributions

    found = score_batch(learned.model, encoded, "max_column").contributions

    greatest = density.max(axis=1)
    assert (found.argmax(axis=1) == density.argmax(axis=1))[greatest > 0].all()
    others = density.sum(axis=1) - greatest
    np.testing.assert_allclose(found.sum(axis=1), greatest + 0.2 * others, atol=1e-6)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_bf16_moves_scores_little(learned: TableDensity, statistic: Statistic) -> None:
    rows = awkward_table(300, seed=5)

    exact, rough = (
        score_table(
            learned, rows, statistic=statistic, precision=precision, explain="none"
        )
        for precision in get_args(Precision)
    )

    # Distances do not depend on the network.
    exact_too = ("anomaly_score",) if statistic in DISTANCES else ()
    for name in {"log_prob", "anomaly_score"} - set(exact_too):
        off = np.abs(rough[name].to_numpy() - exact[name].to_numpy())
        assert 0 < np.median(off) < 0.3
    ranks = np.abs(rough["p_value"].to_numpy() - exact["p_value"].to_numpy())
    assert ranks.mean() < 0.02


def test_surprisal_is_minus_log_prob(density: TableDensity, rows: pa.Table) -> None:
    scored = score_table(density, rows, statistic="surprisal", explain="none")
    np.testing.assert_array_equal(
        scored["anomaly_score"], -scored["log_prob"].to_numpy()
    )


@pytest.mark.parametrize("statistic", statistics_of(table_density().model))
def test_contributions_add_up_to_the_anomaly_score(
    density: TableDensity, rows: pa.Table, statistic: str
) -> None:
    scored = score_table(density, rows, statistic=statistic, explain_columns=9)  # type: ignore[arg-type]
    total = [
        sum(entry["contribution"] for entry in row)
        for row in scored["explanation"].to_pylist()
    ]
    np.testing.assert_allclose(total, scored["anomaly_score"], atol=1e-9)
