import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.families.made import MADE
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, UNSEEN
from tests.support.columns import N, fit_columns, with_nulls

CELLS_OUT_OF_SUPPORT: list[tuple[pa.Array, pa.Array, int]] = [
    (pa.array([1, 2, 3, 4]), pa.array([None], pa.int64()), MISSING),
    (pa.array([1, 2, 3, 4]), pa.array([-1]), OUT_OF_RANGE),
    (pa.array([1, 2, 3, 4]), pa.array([2**40]), OUT_OF_RANGE),
    (pa.array([1, 2, 3, 4]), pa.array([1.5]), OUT_OF_RANGE),
    (pa.array([1.0, 2, 3, 4]), pa.array([math.nan]), MISSING),
    (pa.array([1.0, 2, 3, 4]), pa.array([math.inf]), UNSEEN),
    (pa.array([1.5, 2, 3, 4]), pa.array([None], pa.float64()), MISSING),
    (pa.array([1.5, 2, 3, 4]), pa.array([-math.inf]), UNSEEN),
    (pa.array(["a", "b", "c", "c"] * 2), pa.array(["d"]), UNSEEN),
    (pa.array(["a", "b", "a", "b"]), pa.array([None], pa.string()), MISSING),
    (pa.array([0, 1, 0, 1]), pa.array([2]), UNSEEN),
    (
        pa.array([0, 3600, 7200], pa.timestamp("s")),
        pa.array([60], pa.timestamp("s")),
        OUT_OF_RANGE,
    ),
]


@pytest.mark.parametrize("trained, given, reason", CELLS_OUT_OF_SUPPORT)
def test_what_never_occurred_is_out_of_support(
    trained: pa.Array, given: pa.Array, reason: int
) -> None:
    encoder = fit_columns(
        pa.table({"a": trained, "b": pa.array([1, 2] * 9)[: len(trained)]})
    )
    table = pa.table({"a": given, "b": [1]})
    encoded = encoder.encode(table)
    assert encoder.out_of_support(table).tolist() == [[reason, IN_SUPPORT]]
    assert np.isnan(encoded.x[0, encoder.span(0)]).all()
    mass = 1 / (len(trained) + 2)
    assert encoded.log_abs_det[0].tolist() == pytest.approx(
        [math.log(mass / 3), math.log1p(-mass)]
    )


def test_probabilities_in_and_out_of_support_of_discrete_columns_sum_to_one() -> None:
    rng = np.random.default_rng(5)
    table = pa.table(
        {
            "flag": with_nulls(pa.array(rng.random(N) < 0.3), rng),
            "small": with_nulls(pa.array(rng.integers(-5, 99, N), pa.int8()), rng),
        }
    )
    encoder = fit_columns(table)
    torch.manual_seed(0)
    model = MADE(encoder.variables, MADE.Settings(hidden=8)).eval()
    flags = pa.array([True, False, None] * 257)
    smalls = pa.array(
        [v for v in [*range(-128, 128), None] for _ in range(3)], pa.int8()
    )
    encoded = encoder.encode(pa.table({"flag": flags, "small": smalls}))
    assert not encoded.out_of_support.any()
    with torch.no_grad():
        log_prob = model.log_prob(torch.from_numpy(encoded.x)).double().numpy()
    total = np.exp(log_prob + encoded.log_abs_det.sum(axis=1)).sum()
    mass = encoder.columns[0].out_of_support_mass
    # Each column has three reasons to be out of support, of mass / 3 each.
    out_of_support = encoder.encode(pa.table({"flag": ["?"] * 0, "small": [0] * 0}))
    assert out_of_support.x.shape == (0, 3)
    assert total == pytest.approx((1 - mass) ** 2, abs=1e-5)
