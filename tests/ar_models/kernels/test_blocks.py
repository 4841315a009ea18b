import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.kernels import compiled
from ar_models.variables import Variable
from tests.support.kernels import ROWS, TREES, VARIABLES, conditionals, everything

every_kind = pytest.mark.parametrize("variables", [VARIABLES, TREES])


@every_kind
def test_the_value_of_a_row_does_not_depend_on_the_others(
    variables: tuple[Variable, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 0)
    given, x = conditionals(1.0, variables)
    some = torch.arange(0, ROWS, 3)

    alone = everything(Conditionals(given.layout, given.parameters[some]), x[some])

    for part, whole in zip(alone, everything(given, x), strict=True):
        torch.testing.assert_close(part, whole[some], atol=0, rtol=0, equal_nan=True)


@every_kind
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_no_number_comes_of_what_is_none(
    variables: tuple[Variable, ...], bad: float
) -> None:
    given, x = conditionals(1.0, variables)
    x = torch.nan_to_num(x, 3.0)
    wrong = given.parameters.clone()
    wrong[5] = bad

    log_prob, tails, entropy = everything(Conditionals(given.layout, wrong), x)

    for result in (log_prob, tails, entropy):
        assert not result[5].isfinite().any()
    for result in (log_prob, entropy):
        assert result[:5].isfinite().all()
        assert result[6:].isfinite().all()
