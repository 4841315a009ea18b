import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.interval_tree import PreparedTree
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.kernels import compiled
from ar_models.variables import Variable
from tests.support.kernels import TREES, conditionals


@pytest.mark.parametrize("variable", TREES, ids=["open", "closed", "half open"])
@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_probabilities_of_leaves_are_as_exact_as_by_operations(
    size: float, variable: Variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = ParameterLayout.of([variable], 5).requires_grad_(False)
    parameters = layout.initial_bias() + size * torch.randn(700, layout.size)

    def leaves(layout: ParameterLayout, parameters: torch.Tensor) -> torch.Tensor:
        ((tree, prepared),) = Conditionals(layout, parameters)._groups
        assert isinstance(tree, PreparedTree)
        return prepared[:, 0, : len(variable.edges) + 1]

    by_kernel = leaves(layout, parameters)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)
    by_operations = leaves(layout, parameters)
    true = leaves(layout.double(), parameters.double())

    assert by_kernel.isfinite().equal(true.isfinite())
    assert not by_kernel.equal(by_operations)
    usual = (by_operations - true).nan_to_num(0).abs().max()
    assert (by_kernel - true).nan_to_num(0).abs().max() <= 1.3 * usual + 1e-5 * size


def test_leaves_share_the_probability_of_one() -> None:
    given, _ = conditionals(3.0, TREES)
    for tree, parameters in given._groups:
        assert isinstance(tree, PreparedTree)
        total = tree.unpack(parameters).leaves.exp().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))
