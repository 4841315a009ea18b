import math
from typing import Any

import pytest
import torch

from ar_models.families.base import ancestral_sample
from tests.support.models import random_made


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 7},
        {"hidden": 300, "layers": 1},
        {"hidden": 300, "layers": 3, "residual": False},
        {"hidden": 300, "layers": 1, "residual": False},
        {"hidden": 90, "ordering": "random", "orderings": 2},
        {"hidden": 90, "ordering": "random", "orderings": 2, "masks": 2},
        {"hidden": 90, "layers": 2, "residual": False, "direct": True, "masks": 2},
    ],
)
def test_draws_equal_the_plain_sampler(settings: dict[str, Any]) -> None:
    model = random_made(components=3, embedding=4, **settings).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(50, model.dim, 2, generator=generator, dtype=torch.float64)
    given = torch.full((50, model.dim), math.nan, dtype=torch.float64)

    for which in range(model.orderings):
        drawn = model.draw(noise, given, which)
        plain = ancestral_sample(model, noise, given, which)
        torch.testing.assert_close(drawn, plain, rtol=0, atol=1e-9, equal_nan=True)
