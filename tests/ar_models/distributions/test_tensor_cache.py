import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ar_models.distributions.tensor_cache import TensorCache


@pytest.mark.parametrize(
    ("change", "computed"),
    [
        (lambda x: x, 1),
        (lambda x: x.add_(1), 2),
        (lambda x: x.double(), 2),
        (lambda x: x.clone(), 2),
    ],
)
def test_a_result_is_computed_anew_after_a_change(
    change: Callable[[Tensor], Tensor], computed: int
) -> None:
    cache, calls, x = TensorCache[int](), [], torch.zeros(3)
    for make in (lambda x: x, change):
        cache.get("key", make(x), lambda: calls.append(1) or len(calls))

    assert len(calls) == computed
    again = pickle.loads(pickle.dumps(cache))
    assert again.get("key", x, lambda: 7) == 7
