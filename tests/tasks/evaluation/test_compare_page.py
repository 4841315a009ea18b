from typing import Any

import pytest

from tasks.evaluation import compare_page

MODELS = [{"name": "m", "version": "2"}, {"fingerprint": "0123456789"}]


@pytest.mark.parametrize(
    ("interval", "conclusion"),
    [
        ((0.1, 0.3), "m version 2 is better"),
        ((-0.3, -0.1), "model 01234567 is better"),
        ((-0.1, 0.1), "no significant difference"),
    ],
)
def test_a_model_is_better_if_the_interval_excludes_zero(
    interval: tuple[float, float], conclusion: str
) -> None:
    result = {"difference_interval": interval, "models": MODELS}
    assert compare_page.conclude(result) == conclusion


def test_tiles_give_the_difference_and_both_nlls() -> None:
    result: dict[str, Any] = {
        "difference": 0.2,
        "difference_interval": (0.1, 0.3),
        "confidence": 0.95,
        "nll": [1.0, 1.2],
    }
    difference, first, second = compare_page.tiles(result, ["a", "b"])
    assert difference.value == "+0.200 nats"
    assert difference.remark.endswith("a is better; 95 % interval +0.100 to +0.300")
    assert (first.name, second.value) == ("NLL of a", "1.200 nats")
