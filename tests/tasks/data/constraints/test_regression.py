import numpy as np

from tasks.data.constraints.regression import exact_fits

RNG = np.random.default_rng(0)


def test_exceptions_do_not_disturb_a_fit() -> None:
    x = RNG.normal(size=(400, 20))
    y = np.round(3 * x[:, 4] - 0.25 * x[:, 11] + 8, 3)
    y[:30] += RNG.normal(0, 50, 30)
    levels = list(exact_fits(x, y, np.full(400, 1e-3), most=3, least=0.5))
    best = levels[0][0]
    assert best.features == (4, 11)
    np.testing.assert_allclose(best.coefficients, [3, -0.25], atol=1e-3)
    assert abs(best.constant - 8) < 1e-3
    assert best.share == 370 / 400


def test_unrelated_features_give_no_fit() -> None:
    x, y = RNG.normal(size=(400, 30)), RNG.normal(size=400)
    assert list(exact_fits(x, y, np.full(400, 1e-3), most=5, least=0.5)) == []
