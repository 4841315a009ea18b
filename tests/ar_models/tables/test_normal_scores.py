import numpy as np
import pyarrow as pa

from ar_models.tables.normal_scores import NormalScores
from tests.support.columns import fit_columns


def test_the_transform_is_its_own_inverse_between_and_beyond_the_knots() -> None:
    transform = NormalScores((-2.0, 0.0, 1.0, 10.0), (-2.0, -0.5, 0.5, 2.5))
    x = np.array([-1e9, -2.0, -1.9, 0.3, 10.0, 11.0, 1e12])
    z, _ = transform.forward(x)
    np.testing.assert_allclose(transform.inverse(z), x, rtol=1e-9)
    assert (np.diff(z) > 0).all()
    assert np.isnan(transform.inverse(np.array([np.nan]))).all()


def test_log_volume_is_the_log_derivative_of_the_score() -> None:
    values = np.random.default_rng(1).standard_t(2, 2000)
    encoder = fit_columns(pa.table({"a": values}))
    points = np.array([-1e6, -50.0, -1.0, 0.0123, 0.5, 7.0, 1e5])
    step = 1e-6 * np.maximum(1.0, np.abs(points))
    transform = encoder.columns[0].transform
    rise = transform.forward(points + step)[0] - transform.forward(points - step)[0]
    given = encoder.encode(pa.table({"a": points})).log_abs_det[:, 0]
    expected = np.log(rise / (2 * step)) + np.log1p(-1 / 2002)
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_scores_of_a_real_column_are_nearly_normal() -> None:
    values = np.random.default_rng(3).lognormal(0, 3, 20_000)
    encoder = fit_columns(pa.table({"a": values}))
    z = encoder.encode(pa.table({"a": values})).x[:, 0]
    quantiles = np.quantile(z, [0.002, 0.05, 0.5, 0.95, 0.998])
    expected = [-2.878, -1.645, 0.0, 1.645, 2.878]
    np.testing.assert_allclose(quantiles, expected, atol=0.05)
    assert np.abs(z).max() < 8
