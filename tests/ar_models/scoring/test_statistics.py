"""Statistics of encoded rows: what they add up to, and what they do not depend on."""

import math
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from ar_models.density.table_density import TableDensity
from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.families.eonade import EoNADE
from ar_models.families.independent import Independent
from ar_models.scoring.choices import STATISTICS, Precision, Statistic
from ar_models.scoring.column_log_prob import padded_size
from ar_models.scoring.robust_scale import COMPONENTS
from ar_models.scoring.statistics import score_batch
from ar_models.scoring.tail_probability import log_tail_probability, tail_probability
from ar_models.variables import Variable
from tests.ar_models.tables.test_encoder import fit
from tests.ar_models.test_density import odd_row, table_density
from tests.support.densities import sample_table, score_table

VARIABLES = (
    Variable("a", "binary", 0, size=2),
    Variable("b", "categorical", 1, size=5),
    Variable("c", "integer", 2, lower=0.0, upper=9.0, atoms=(0.0, 4.0)),
    Variable("d", "integer", 3, location=7.0, scale=30.0),
    Variable("e", "real", 4, location=-1.0, scale=2.0),
    Variable("f", "categorical", 5, size=80),
)


def conditionals(count: int, seed: int = 0) -> Conditionals:
    """Return the conditionals of `count` rows, all different."""
    torch.manual_seed(seed)
    layout = ParameterLayout.of(VARIABLES, components=3, embedding=2)
    start = layout.initial_bias().expand(count, -1)
    return Conditionals(layout, start + 0.7 * torch.randn(count, layout.size))


@pytest.fixture(scope="module")
def density() -> TableDensity:
    return table_density()


@pytest.fixture(scope="module")
def rows(density: TableDensity) -> pa.Table:
    return sample_table(density, 4000, seed=3)


def tails(
    density: TableDensity, table: pa.Table, noise: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the tail probability of every column."""
    encoded = density.encoder.encode(table)
    batch_scores = score_batch(density.model, encoded, "surprisal")
    found = batch_scores.conditionals
    return tail_probability(density.model.variables, found, encoded, noise=noise)


def test_the_tails_and_what_is_between_are_all_there_is() -> None:
    given = conditionals(500)
    x = given.sample(torch.rand(500, 6, 2))

    less, equal, more = given.log_tail_probs(x).exp().unbind(-1)

    torch.testing.assert_close(less + equal + more, torch.ones_like(x))
    numbers = [2, 3, 4]
    at_most = (less + equal)[:, numbers]
    torch.testing.assert_close(at_most, given.cdf(x)[:, numbers], atol=2e-6, rtol=1e-5)
    discrete = [0, 1, 2, 3, 5]
    mass = given.log_prob(x).exp()[:, discrete]
    assert bool((equal[:, discrete] >= mass - 1e-6).all())


def test_tails_are_told_apart_where_a_cdf_is_one() -> None:
    given = conditionals(3)
    x = torch.full((3, 6), torch.nan)
    x[:, 3] = torch.tensor([2.0**20, 2.0**21, 2.0**22])
    x[:, 4] = torch.tensor([2000.0, 4000.0, 8000.0])
    given.parameters[:] = given.parameters[0].clone()

    above = given.log_tail_probs(x)[:, [3, 4], 2]

    assert bool((given.cdf(x)[:, [3, 4]] > 1 - 1e-6).all())
    assert bool(above.isfinite().all())
    assert bool((above.diff(dim=0) < -1).all())


def test_the_order_of_codes_does_not_matter() -> None:
    variables = (Variable("a", "categorical", 0, size=6),)
    layout = ParameterLayout.of(variables)
    torch.manual_seed(0)
    logits, x = torch.randn(50, 6), torch.randint(6, (50, 1)).float()
    order = torch.randperm(6)

    one = Conditionals(layout, logits).log_tail_probs(x)
    other = Conditionals(layout, logits[:, order]).log_tail_probs(
        order.argsort()[x.long()].float()
    )

    torch.testing.assert_close(one, other)


def test_tail_probabilities_of_drawn_rows_are_uniform(
    density: TableDensity, rows: pa.Table
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((len(rows), density.encoder.dim))

    p = tails(density, rows, noise)

    # Kolmogorov's statistic exceeds 2.7 with odds of 1e-6, and there are 4 here.
    grid = (np.arange(len(p)) + 0.5) / len(p)
    distance = np.abs(np.sort(p, axis=0) - grid[:, None]).max(axis=0)
    assert (distance * math.sqrt(len(p)) < 2.7).all()
    # Columns do not depend on each other: 3 standard errors are 0.05.
    correlation = np.corrcoef(p.T) - np.eye(p.shape[1])
    assert np.abs(correlation).max() < 0.08


def test_tail_probabilities_without_noise_are_a_function_of_the_row(
    density: TableDensity, rows: pa.Table
) -> None:
    whole = tails(density, rows)
    np.testing.assert_allclose(tails(density, rows.slice(7, 5)), whole[7:12], rtol=1e-3)
    assert ((whole > 0) & (whole <= 1)).all()
    assert abs(whole.mean() - 0.55) < 0.1


@pytest.mark.parametrize(
    "cells, column",
    [
        ({"delay": 900}, "delay"),
        ({"delay": -55}, "delay"),
        ({"amount": 1e9}, "amount"),
        ({"carrier": "ZZ"}, "carrier"),
        ({"carrier": None}, "carrier"),
    ],
)
def test_an_extreme_value_has_a_small_tail_probability(
    density: TableDensity, cells: dict[str, object], column: str
) -> None:
    place = density.columns.index(column)
    usual, odd = tails(density, odd_row()), tails(density, odd_row(**cells))
    assert odd[0, place] < 0.05 < usual[0, place]


def test_a_far_value_has_a_finite_logarithm(density: TableDensity) -> None:
    encoded = density.encoder.encode(odd_row(amount=1e300))
    batch_scores = score_batch(density.model, encoded, "surprisal")
    found = log_tail_probability(
        density.model.variables, batch_scores.conditionals, encoded
    )
    assert np.isfinite(found).all()
    assert found.min() < -1000


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
    encoder = fit(table)
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
    reference = density.reference_scores(table.slice(len(table) - 400))
    return TableDensity(encoder, model, reference)


def recoded(table: pa.Table) -> pa.Table:
    """Return the rows with amounts in another unit and other words."""
    amount = pa.array(table["amount"].to_numpy() * 1024.0)
    names = {"red": "z", "green": "a", "blue": "y", "grey": "b"}
    word = pa.array([names[word] for word in table["word"].to_pylist()])
    for name, column in (("amount", amount), ("word", word)):
        place = table.column_names.index(name)
        table = table.set_column(place, name, column)
    return table


@pytest.fixture(scope="module")
def learned() -> TableDensity:
    return learn(awkward_table(1400))


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


def test_a_statistic_that_the_family_cannot_tell_is_refused(
    density: TableDensity,
) -> None:
    assert "leave_one_out" not in density.calibration
    with pytest.raises(ValueError, match="'leave_one_out' needs a model that predicts"):
        score_table(density, odd_row(), statistic="leave_one_out")


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
    encoder = fit(awkward_table(1400))
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


def test_the_combination_is_the_greatest_on_one_scale(learned: TableDensity) -> None:
    rows = awkward_table(300, seed=1)
    encoded = learned.encoder.encode(rows)

    def usual(name: str) -> tuple[float, float]:
        own = np.sort(learned.calibration[name])
        upper = np.quantile(own, 0.75)
        return float(np.median(own)), float((own[own >= upper] - upper).mean())

    each = []
    for name in COMPONENTS:
        scores = score_batch(learned.model, encoded, name).anomaly_score
        middle, beyond = usual(name)
        each.append((scores - middle) / beyond)

    found = score_table(learned, rows, statistic="combined")["anomaly_score"].to_numpy()

    middle, unit = usual("excess")
    np.testing.assert_allclose(found, np.max(each, axis=0) * unit + middle, atol=1e-3)
    # Not one of them alone.
    assert len(np.unique(np.argmax(each, axis=0))) == len(COMPONENTS)


def test_a_statistic_without_calibration_scores_is_refused(
    learned: TableDensity,
) -> None:
    known = {n: v for n, v in learned.calibration.items() if n != "marginal_tail"}
    old = TableDensity(learned.encoder, learned.model, known)
    with pytest.raises(ValueError, match="'marginal_tail' has no calibration scores"):
        score_table(old, awkward_table(3), statistic="marginal_tail")


def test_density_weighs_how_sparse_values_are() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"amount": rng.lognormal(0, 2, 3000)})
    encoder = fit(table)
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

    for name in ("log_prob", "anomaly_score"):
        off = np.abs(rough[name].to_numpy() - exact[name].to_numpy())
        assert 0 < np.median(off) < 0.3
    ranks = np.abs(rough["p_value"].to_numpy() - exact["p_value"].to_numpy())
    assert ranks.mean() < 0.02


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
