import numpy as np
import scipy.special

from ar_models.kernels import elementary
from ar_models.kernels.compiled import jit


def test_elementary_functions_are_exact_to_a_millionth() -> None:
    @jit
    def all_of_them(x: np.ndarray, results: np.ndarray) -> None:
        for r in range(len(x)):
            results[0, r] = elementary.exp2(-x[r])
            results[1, r] = elementary.log(x[r])
            results[2, r] = elementary.softplus(-x[r])
            results[3, r] = elementary.softplus(x[r])
            results[4, r] = elementary.log_2sinh(x[r])
            results[5, r] = elementary.log_erfc(x[r])

    x = np.geomspace(1e-37, 99, 5000, dtype=np.float32)
    results = np.empty((6, len(x)), np.float32)
    all_of_them(x, results)

    wide = x.astype(np.float64)
    expected = [
        np.exp2(-wide),
        np.log(wide),
        np.logaddexp(0, -wide),
        np.logaddexp(0, wide),
        np.log(2 * np.sinh(wide)),
        np.log(2) + scipy.special.log_ndtr(-wide * np.sqrt(2)),
    ]
    np.testing.assert_allclose(results[0], expected[0], rtol=1e-6)
    for ours, theirs in zip(results[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=5e-7)
