"""The baseline of independent columns."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ar_models.variables import Variable
from tasks.evaluation import baseline
from tests.support.model_pair import ModelPair


def test_the_baseline_reaches_the_entropy_of_its_columns() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(50, 10, 20_000)
    variables = (
        Variable("code", "categorical", 0, size=2, frequencies=(0.25, 0.75)),
        Variable("number", "real", 1, location=50, scale=10, knots=(30, 40, 60, 70)),
    )
    codes = (rng.random(20_000) < 0.75).astype(np.float32)
    x = torch.from_numpy(np.stack([codes, values.astype(np.float32)], axis=1))
    model = baseline.fit(variables, x)
    with torch.inference_mode():
        each = -model.variable_log_prob(x).mean(0)
    flip = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert float(each[0]) == pytest.approx(flip, abs=0.02)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(10)
    assert float(each[1]) == pytest.approx(entropy, abs=0.02)


def test_the_baseline_of_a_mixed_tree_is_finite() -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.integers(0, 30, (2000, 1)).astype(np.float32))
    tree = Variable(
        "a",
        "integer",
        0,
        location=15.0,
        scale=9.0,
        lower=0.0,
        upper=29.0,
        edges=(0.0, 10.0, 20.0, 30.0),
        marginal_weight=1e-3,
    )
    model = baseline.fit((tree,), values)
    with torch.inference_mode():
        nll = -float(model.log_prob(values).mean())
    assert nll == pytest.approx(math.log(30), abs=0.05)


def test_the_baseline_tells_places_apart_that_are_described_together() -> None:
    alike = {"size": 2, "frequencies": (0.5, 0.5)}
    variables = [Variable(f"x{i}", "binary", i, **alike) for i in range(3)]  # type: ignore[arg-type]
    x = torch.zeros(998, 3)
    x[:499, 1] = 1
    x[:, 2] = math.nan
    with torch.inference_mode():
        each = baseline.fit(variables, x).conditionals(torch.zeros(1, 3))
        found = each.log_prob(torch.zeros(1, 3)).exp()[0]
    assert found.tolist() == pytest.approx([0.999, 0.5, 0.5])


def test_training_rows_of_the_baseline_are_evenly_chosen(pair: ModelPair) -> None:
    about = json.loads(Path(pair.prepared, "_manifest.json").read_text())
    every = baseline.read_training_rows(pair.prepared, about, 10**6)
    assert len(every) == about["rows"]["train"]
    some = baseline.read_training_rows(pair.prepared, about, 100)
    assert 80 <= len(some) <= 102
    assert torch.equal(some[0].nan_to_num(), every[0].nan_to_num())
