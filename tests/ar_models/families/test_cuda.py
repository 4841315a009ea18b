"""Laws of every family on a GPU, and on the CPU where these tests check themselves."""

import copy
import itertools

import pytest
import torch
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from tasks.data.batches import Batch
from tasks.training.trainer import Trainer
from tests.support.models import (
    KINDS,
    every_exact_family,
    every_family,
    every_kind_of_family,
    observations,
    random_model,
    seeded,
)
from tests.support.training import train_config

ROWS = 33

NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=NEEDS_GPU)], autouse=True, name="device"
)
def computing_device(request: pytest.FixtureRequest) -> str:
    """Return the device; products there have the full precision of fp32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device: str = request.param
    return device


def moved(model: AutoregressiveModel, device: str) -> AutoregressiveModel:
    """Return a copy of a model on a device."""
    return copy.deepcopy(model).to(device)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Check that values are equal up to a tolerance, relative or absolute."""
    torch.testing.assert_close(
        found.detach().cpu(), expected, rtol=tolerance, atol=tolerance, equal_nan=True
    )


@every_kind_of_family
def test_log_probabilities_features_and_draws_are_those_of_the_cpu(
    family: str, kind: str, device: str
) -> None:
    model = random_model(family, KINDS[kind])
    x = observations(model, ROWS)
    there = moved(model, device)
    close(there.log_prob(x.to(device)), model.log_prob(x).detach(), 1e-3)
    shares = model.variable_log_prob(x).detach()
    close(there.variable_log_prob(x.to(device)), shares, 1e-3)
    close(there.features(x.to(device)), model.features(x).detach(), 1e-3)
    drawn = there.sample(ROWS, generator=seeded(1)).cpu()
    # A draw at the edge of two values may fall on either side.
    same = torch.isclose(
        drawn, model.sample(ROWS, generator=seeded(1)), atol=1e-3, equal_nan=True
    )
    assert same.float().mean() > 0.98
    assert there.log_prob(drawn.to(device)).isfinite().all()


@every_exact_family
def test_the_probabilities_of_all_vectors_sum_to_one(family: str, device: str) -> None:
    model = moved(random_model(family, KINDS["binary"]), device)
    vectors = torch.tensor(list(itertools.product((0.0, 1.0), repeat=model.dim)))
    total = model.log_prob(vectors.to(device)).detach().double().exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-4)


@every_kind_of_family
def test_steps_of_training_are_those_of_the_cpu(
    family: str, kind: str, device: str
) -> None:
    model = random_model(family, KINDS[kind])
    rows = observations(model, ROWS)
    config = train_config(precision="fp32", ema_decay=0.9, trim=0.2)
    here = Trainer(copy.deepcopy(model), config, steps=20)
    there = Trainer(model, config, steps=20, device=torch.device(device))
    for _ in range(3):
        there.step(Batch(rows.to(device), ROWS))
        here.step(Batch(rows, ROWS))
    if family != "vae":  # which draws its noise on the device
        found, expected = there.nll([rows.to(device)]), here.nll([rows])
        close(found, expected, 1e-2)
    assert there.check_finite() == 0


@every_family
def test_bf16_is_near_fp32(family: str, device: str) -> None:
    model = moved(random_model(family, KINDS["binary"]), device)
    x = model.sample(ROWS, generator=seeded(0))
    exact = model.log_prob(x).detach()
    with torch.autocast(device, dtype=torch.bfloat16):
        rough = model.log_prob(x).detach()
        drawn = model.sample(ROWS, generator=seeded(2))
    if family != "vae":  # whose bound is drawn
        assert float((rough.float() - exact).abs().mean()) < 0.02 * model.dim
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
