import math
from typing import Any

import pytest
import torch

from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families import made_sampling
from ar_models.families.base import ancestral_sample
from ar_models.variables import binary_variables
from tests.support.models import random_made


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 7},
        {"hidden": 150, "layers": 1},
        {"hidden": 150, "layers": 3, "residual": False},
        {"hidden": 150, "layers": 1, "residual": False, "direct": True},
        {"hidden": 90, "ordering": "random", "orderings": 2, "masks": 2},
    ],
)
def test_the_compiled_loop_draws_what_the_plain_sampler_draws(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_sampling, "MIN_COMPILED_VALUES", 0)
    monkeypatch.setattr(made_sampling, "COMPILED_ROWS", 300)
    drawn_by_loop = []
    loop = made_sampling.sample_block

    def counted(*arguments: Any) -> None:
        drawn_by_loop.append(arguments[-1])
        loop(*arguments)

    monkeypatch.setattr(made_sampling, "sample_block", counted)
    model = random_made(binary_variables(40), **settings)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(700, 40, 2, generator=generator)
    noise[0, :, 0] = 0
    given = torch.full((700, 40), math.nan)
    given[:, 3] = (noise[:, 3, 1] > 0.5).float()
    given[::2, 20] = 1.0

    for which in range(model.orderings):
        for known in (None, given):
            for sampling in (EXACT_SAMPLING, SamplingParams(temperature=0.5)):
                drawn = model.draw(noise, known, which, sampling)
                plain = ancestral_sample(model, noise, known, which, sampling)
                assert torch.equal(drawn, plain)
    assert sum(x.size for x in drawn_by_loop) == 700 * 40 * 4 * model.orderings
