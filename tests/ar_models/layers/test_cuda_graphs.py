"""What is recorded on a GPU; all but the recording itself is tested elsewhere."""

import pytest
import torch

from tests.support.models import KINDS, every_kind_of_family, random_model, seeded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@every_kind_of_family
def test_a_cuda_graph_draws_what_the_operations_draw(family: str, kind: str) -> None:
    model = random_model(family, KINDS[kind]).to("cuda")
    noises = torch.rand(5, 64, model.noise_dim, 2, generator=seeded(0)).to("cuda")

    for noise in noises:  # the second and later ones come from the recording
        found, expected = model.draw_unconditional(noise), model.draw(noise)
        torch.testing.assert_close(found, expected, equal_nan=True)
