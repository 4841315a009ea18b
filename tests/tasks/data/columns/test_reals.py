import numpy as np
import pyarrow as pa

from tasks.data.columns.reals import normal_scores, real_column
from tasks.data.counts import EmpiricalDistribution
from tests.support.sketching import sketched


def test_a_frequent_value_is_an_atom_with_a_state() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    values[::4] = 0.0
    column = real_column("a", pa.float64(), sketched(pa.array(values)))
    assert column.atoms == (0.0,)
    assert [v.name for v in column.variables] == ["a.state", "a"]


def test_values_on_a_coarse_scale_are_no_atoms() -> None:
    values = np.random.default_rng(0).normal(size=4000).round(1)
    column = real_column("a", pa.float64(), sketched(pa.array(values)))
    assert column.atoms == ()
    assert [v.name for v in column.variables] == ["a"]


def test_knots_and_scores_increase() -> None:
    values = np.sort(np.random.default_rng(0).lognormal(size=5000))
    knots, scores = normal_scores(EmpiricalDistribution(values, np.ones(5000)))
    assert (np.diff(knots) > 0).all()
    assert (np.diff(scores) > 0).all()
    assert min(scores) < -2.5 and max(scores) > 2.5


def test_one_value_has_a_transform() -> None:
    knots, scores = normal_scores(EmpiricalDistribution(np.array([5.0]), np.ones(1)))
    assert knots == (0.0, 10.0)
    assert scores == (-1.0, 1.0)


def test_values_too_fine_for_steps_are_rounded_when_decoded() -> None:
    values = np.random.default_rng(0).normal(size=4000, scale=1e4).round(2)
    column = real_column("a", pa.float64(), sketched(pa.array(values)))
    assert column.decimals == 2

    x = np.random.default_rng(1).normal(size=(500, 1)).astype(np.float32)
    decoded = column.decode(x, pa.float64(), np.random.default_rng(0)).to_numpy()

    assert (decoded == decoded.round(2)).all()


def test_synthetic_values_are_multiples_as_in_training() -> None:
    prices = np.random.default_rng(0).integers(-900, 90_000, 4000) * 5 / 100
    column = real_column("a", pa.float64(), sketched(pa.array(prices)))
    scores = np.random.default_rng(1).normal(size=1000).astype(np.float32)

    drawn = column.decode(scores[:, None], pa.float64(), np.random.default_rng(0))

    cents = np.array(drawn) * 100
    assert np.abs(cents - np.rint(cents)).max() < 1e-6
    assert (np.rint(cents) % 5 == 0).all()
    assert len(np.unique(cents)) > 500
