import numpy as np

from tasks.monitoring.histograms import Scale

SPECIALS = ("missing", "nan")


def test_parts_add_up_to_the_whole() -> None:
    scale = Scale((1.0, 2.0, 5.0), SPECIALS)
    values = np.array([0.5, 1.0, 1.5, 7.0, 3.0, 0.0])
    other = np.array([-1, -1, -1, -1, -1, 1])
    whole = scale.count(values, other)
    assert whole.counts.tolist() == [2, 1, 1, 1, 0, 1]
    assert whole.sums.tolist() == [1.5, 1.5, 3.0, 7.0, 0.0, 0.0]
    parts = scale.count(values[:2], other[:2]) + scale.count(values[2:], other[2:])
    assert parts.counts.tolist() == whole.counts.tolist()
    assert parts.sums.tolist() == whole.sums.tolist()
