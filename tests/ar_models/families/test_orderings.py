import math
from typing import Any

import pytest
import torch

from ar_models.families.made import MADE
from ar_models.variables import binary_variables
from tests.support.models import MADE_VARIABLES, randomize


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"orderings": 2}, "'natural' is one ordering"),
        ({"ordering": "shuffled"}, "'natural', 'random' or sequences"),
        ({"ordering": [[0, 1, 1]]}, "each group of \\[0, 1, 2\\] once"),
        (
            {"ordering": [[0, 1, 2]], "orderings": 2},
            "orderings is 2, but ordering has 1",
        ),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MADE(binary_variables(3), MADE.Settings(**settings))


def test_given_variables_choose_a_fitting_ordering() -> None:
    model = MADE(
        binary_variables(3),
        MADE.Settings(hidden=30, ordering=[[0, 1, 2], [2, 1, 0]], orderings=2),
    )
    given = torch.full((50, 3), math.nan)
    given[:, 2] = 1

    x = randomize(model).sample(50, given=given)

    assert bool((x[:, 2] == 1).all())
    with pytest.raises(ValueError, match="none of the model's 2 orderings"):
        given = given.roll(1, 1).roll(1, 1)
        model.sample(50, given=given)


def test_a_group_stays_together_in_every_ordering() -> None:
    model = MADE(
        MADE_VARIABLES, MADE.Settings(hidden=30, ordering="random", orderings=5)
    )

    for which in range(5):
        order = model.ordering(which).tolist()
        assert sorted(order) == list(range(len(MADE_VARIABLES)))
        assert order.index(1) == order.index(0) + 1
