import pytest

from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.variables import Variable, check_variables


def test_frequencies_must_match_the_codes() -> None:
    wrong = Variable("hue", "categorical", 0, size=3, frequencies=(0.5, 0.5))

    with pytest.raises(ValueError, match="hue: 3 frequencies are needed, got 2"):
        ParameterLayout.of((wrong,))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([], "at least one variable, got none"),
        ([Variable("a", "real", 0)] * 2, "names must be unique"),
        ([Variable("a", "categorical", 0)], "a: size must be at least 1, got 0"),
        ([Variable("a", "real", 0, scale=0.0)], "a: scale must be positive"),
        ([Variable("a", "real", 0, parent=0)], "a: its parent must stand before it"),
    ],
)
def test_variables_that_contradict_themselves_are_refused(
    variables: list[Variable], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_variables(variables)
