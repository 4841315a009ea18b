import json
from pathlib import Path

import numpy as np
import pytest

from tasks.monitoring import reference
from tasks.monitoring.histograms import Scale
from tasks.monitoring.reference import Reference, code_scale, number_scale

SPECIALS = ("missing", "nan")


def test_bins_of_numbers_hold_about_as_many_each() -> None:
    values = np.random.default_rng(0).exponential(1.0, 10_000)
    scale = number_scale(np.sort(values), np.ones(10_000), SPECIALS)
    counts = scale.count(values).counts[: scale.numbers]
    assert counts[0] == counts[-1] == 0  # below and above all that was seen
    assert counts[1:-1].min() > 90 and counts[1:-1].max() < 110


def test_rare_codes_share_a_bin() -> None:
    seen = np.repeat(np.arange(100), np.arange(100, 0, -1))
    scale, bins = code_scale([f"c{k}" for k in range(100)], seen)
    assert len(scale.labels) == 40 + 3
    assert scale.labels[bins[0]] == "c0" and scale.labels[bins[39]] == "c39"
    assert {scale.labels[k] for k in bins[40:]} == {"(others)"}
    assert scale.labels[-2:] == ("missing", "(new)")


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    scale = Scale((0.0, 1.0), SPECIALS, spread=2.0)
    known = Reference(3, (scale,), (), (scale.count(np.array([0.5, 2.0, -1.0])),))
    (tmp_path / reference.FILE).write_text(json.dumps(known.to_dict()))
    again = reference.read(str(tmp_path))
    assert (again.rows, again.scales, again.codes) == (3, (scale,), ())
    assert again.histograms[0].counts.tolist() == [1, 1, 1, 0, 0]
    assert again.histograms[0].sums.tolist() == [-1.0, 0.5, 2.0, 0.0, 0.0]
    other = {**known.to_dict(), "format": 0}
    (tmp_path / reference.FILE).write_text(json.dumps(other))
    with pytest.raises(ValueError, match="has format 0, this version reads 1"):
        reference.read(str(tmp_path))
