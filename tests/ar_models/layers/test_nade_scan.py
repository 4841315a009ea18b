import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.families.nade import NADE
from ar_models.layers.nade_scan import Activation, ScanPlan, make_scan_plan, scan
from ar_models.variables import binary_variables

WIDTHS = (1, 2, 1, 1, 3, 3)
"""Features of each of six variables, …"""


PARAMETERS = (2, 2, 2, 1, 1, 4)
"""… and their parameters."""


def plan(positions: int, features: int = 100) -> ScanPlan:
    """Return a plan for six variables in an order that is not the natural one."""
    return make_scan_plan(
        torch.tensor([3, 0, 5, 1, 2, 4]),
        torch.arange(6).repeat_interleave(torch.tensor(WIDTHS)),
        torch.arange(6).repeat_interleave(torch.tensor(PARAMETERS)),
        positions,
        features,
    )


def arguments(*sizes: tuple[int, ...]) -> list[Tensor]:
    """Random tensors of float64 that want a gradient."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
        for size in sizes
    ]


def test_blocks_hold_positions_of_equal_width_and_few_features() -> None:
    blocks = plan(positions=3, features=4).blocks

    # In this order: 1 1 3 2 1 3 features and 1 2 4 2 2 1 parameters.
    starts = [(b.positions.start, b.inputs.start, b.outputs.start) for b in blocks]
    assert starts == [(0, 0, 0), (1, 1, 1), (2, 2, 3), (3, 5, 7), (5, 8, 11)]
    assert blocks[-1].inputs.stop == sum(WIDTHS)
    assert blocks[-1].outputs.stop == sum(PARAMETERS)
    alone = plan(positions=1).blocks
    assert [b.positions.start for b in alone] == list(range(6))


@pytest.mark.parametrize("positions", [1, 6])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("dropout", [False, True])
def test_gradients_are_those_of_finite_differences(
    positions: int, activation: Activation, dropout: bool
) -> None:
    tensors = arguments((3, 11), (11, 4), (4,), (12, 4))
    keep = torch.tensor([1.5, 0.0, 1.5, 1.5], dtype=torch.float64).expand(3, -1)

    def of(*tensors: Tensor) -> Tensor:
        return scan(
            *tensors,
            plan(positions),
            activation=activation,
            keep=keep if dropout else None,
        )

    assert torch.autograd.gradcheck(of, tensors)


def naively(features: Tensor, weight: Tensor, bias: Tensor, heads: Tensor) -> Tensor:
    """Compute `scan` with one parameter and one feature per variable."""
    before = torch.ones(len(weight), len(weight), dtype=weight.dtype).tril(-1)
    a = bias + torch.einsum("bj,pj,jh->bph", features, before, weight)
    return (F.relu(a) * heads).sum(-1)


@pytest.mark.parametrize("positions", [1, 8])
def test_running_equals_holding_all_hidden_vectors(positions: int) -> None:
    tensors = arguments((300, 20), (20, 2000), (2000,), (20, 2000))
    # 2000 units: rows are taken in three parts.
    each = torch.arange(20)
    run_plan = make_scan_plan(each, each, each, positions, 100)

    value = scan(*tensors, run_plan, activation="relu")
    naive = naively(*tensors)

    torch.testing.assert_close(value, naive)
    toward = torch.randn(value.shape, dtype=value.dtype)
    gradients = torch.autograd.grad(value, tensors, toward)
    expected = torch.autograd.grad(naive, tensors, toward)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other)


def test_no_pass_holds_all_hidden_vectors() -> None:
    dim, hidden, batch = 400, 256, 256
    model = NADE(binary_variables(dim), NADE.Settings(hidden=hidden))
    x = (torch.rand(batch, dim) < 0.3).float()
    saved = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x).sum().backward()

    assert saved < batch * dim * hidden / 10
