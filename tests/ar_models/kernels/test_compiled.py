from typing import Any

import numpy as np
import torch

from ar_models.kernels.compiled import jit, use_kernel


def test_code_that_has_no_place_on_disk_is_compiled_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec("def double(x):\n    x[0] *= 2", names)
    x = np.ones(1)

    jit(names["double"])(x)

    assert x[0] == 2


def test_loops_are_left_to_what_they_can_do() -> None:
    many = torch.ones(500, 6, 5)
    assert use_kernel(many)
    assert not use_kernel(many[:10])
    assert not use_kernel(many.double())
    assert not use_kernel(many.requires_grad_())
    with torch.no_grad():
        assert use_kernel(many)
