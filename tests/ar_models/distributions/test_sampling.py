import math

import pytest

from ar_models.distributions.sampling import SamplingParams


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": math.inf}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_impossible_temperatures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingParams(**wrong)
