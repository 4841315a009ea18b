import pytest

from ar_models.distributions.conditionals import Conditionals
from tests.support.kernels import TREES, check_kernel

every_size = pytest.mark.parametrize("size", [0.3, 3.0, 30.0])


@every_size
def test_log_probabilities_are_as_exact_as_by_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kernel(Conditionals.log_prob, size, monkeypatch, TREES)


@every_size
def test_tail_probabilities_are_as_exact_as_by_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kernel(Conditionals.log_tail_probs, size, monkeypatch, TREES)
