import numpy as np

from tasks.data.constraints.regression import Gram, exact_fits

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


def test_a_sum_is_found_among_more_features_than_rows() -> None:
    x = RNG.normal(size=(400, 1500)).round(2)
    y = x[:, 3] + 2 * x[:, 700] - x[:, 1499]
    levels = exact_fits(x, y, np.full(400, 0.01), most=5, least=0.9)
    best = next(iter(levels))[0]
    assert best.features == (3, 700, 1499)
    np.testing.assert_allclose(best.coefficients, [1, 2, -1], atol=1e-6)


def test_products_of_features_are_those_of_the_whole_matrix() -> None:
    z = RNG.normal(size=(50, 12))
    gram, whole = Gram(z), z.T @ z
    sets = np.array([[1, 4], [4, 11]])
    np.testing.assert_allclose(gram[sets], whole[sets])
    np.testing.assert_allclose(gram[sets[:1]], whole[sets[:1]])
    np.testing.assert_allclose(gram.diagonal, np.diagonal(whole))
