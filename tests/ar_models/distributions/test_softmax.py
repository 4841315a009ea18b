import pytest
import torch

from ar_models.distributions import softmax
from ar_models.kernels import compiled


@pytest.mark.parametrize("codes", [2, 600])
def test_the_least_likely_codes_have_logarithms_too(
    codes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits = 300 * torch.randn(9000, codes)
    own = logits.gather(1, torch.randint(codes, (9000, 1)))
    by_kernel = softmax.log_tail_probs(logits, own)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)

    by_operations = softmax.log_tail_probs(logits, own)

    assert float(by_kernel[by_kernel.isfinite()].min()) < -500
    torch.testing.assert_close(by_kernel, by_operations, atol=1e-3, rtol=1e-6)
