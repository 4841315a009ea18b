import pytest

from ar_models.distributions.conditionals import Conditionals
from tests.support.kernels import check_kernel


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_log_probabilities_are_as_exact_as_by_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kernel(Conditionals.log_prob, size, monkeypatch)
