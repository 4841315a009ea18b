"""Weighted completions: conditional distributions equal to those by enumeration."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from ar_models.families.base import AutoregressiveModel
from ar_models.families.ensemble import Ensemble
from ar_models.scoring import completions
from ar_models.scoring.completions import Completer, KnownCells, stratified
from ar_models.tables.encoder import TableEncoder
from tests.support.columns import fit_columns
from tests.support.constraints import fares, fares_encoder
from tests.support.models import perturbed

SIZES = {"a": 3, "b": 4, "c": 2}


def code_encoder() -> TableEncoder:
    """Return an encoder of three columns of codes."""
    rng = np.random.default_rng(0)
    values = {
        n: rng.choice([f"{n}{k}" for k in range(s)], 500) for n, s in SIZES.items()
    }
    return fit_columns(pa.table(values))


def all_rows(encoder: TableEncoder) -> pa.Table:
    """Return all possible rows."""
    labels = [encoder.labels(j) for j in range(len(SIZES))]
    rows = list(itertools.product(*labels))
    return pa.table({n: [row[j] for row in rows] for j, n in enumerate(SIZES)})


def models(encoder: TableEncoder) -> dict[str, AutoregressiveModel]:
    """Return models with random weights and strong dependences."""
    several = {"hidden": 24, "ordering": "random", "orderings": 3}
    return {
        "made": perturbed("made", encoder.variables, 0.6, hidden=24),
        "rnn": perturbed("rnn", encoder.variables, 0.6, hidden=12),
        "orderings": perturbed("made", encoder.variables, 0.6, **several),
        "ensemble": Ensemble(
            [perturbed("nade", encoder.variables, s, hidden=16) for s in (0.4, 0.7)]
        ).eval(),
        "agnostic members": Ensemble(
            [perturbed("eonade", encoder.variables, s, hidden=16) for s in (0.4, 0.6)]
        ).eval(),
    }


def known_cells(encoder: TableEncoder, row: dict[str, str], count: int) -> KnownCells:
    """Return rows that are all the same, with the cells of `row` known."""
    table = pa.table({n: pa.array([row.get(n)] * count, pa.string()) for n in SIZES})
    x = encoder.encode(table).x
    known = np.array([n in row for n in SIZES])
    x[:, ~known] = np.nan
    late = np.zeros((count, 3), bool)
    return KnownCells(table, x, late, np.broadcast_to(~known, (count, 3)))


def conditional(
    encoder: TableEncoder, model: AutoregressiveModel, row: dict[str, str]
) -> tuple[pa.Table, NDArray[np.float64]]:
    """Return all possible rows, and their probabilities given some of the cells."""
    rows = all_rows(encoder)
    with torch.inference_mode():
        log_prob = model.log_prob(torch.from_numpy(encoder.encode(rows).x))
    probability = log_prob.double().exp().numpy()
    for name, value in row.items():
        probability[np.array(rows[name].to_pylist()) != value] = 0
    return rows, probability / probability.sum()


def shares(rows: pa.Table, found: pa.Table, weights: NDArray[np.float64]) -> NDArray:
    """Return the total weight of each possible row."""
    number = {tuple(row.values()): k for k, row in enumerate(rows.to_pylist())}
    at = [number[tuple(row[n] for n in SIZES)] for row in found.to_pylist()]
    return np.bincount(at, weights, minlength=len(number))


@pytest.mark.parametrize("name", models(code_encoder()))
@pytest.mark.parametrize(
    "given", [{"c": "c0"}, {"a": "a1", "c": "c1"}, {"b": "b2"}, {}]
)
def test_few_combinations_are_weighed_exactly(name: str, given: dict[str, str]) -> None:
    encoder = code_encoder()
    model = models(encoder)[name]
    rows, expected = conditional(encoder, model, given)

    known = known_cells(encoder, given, 2)
    (found,) = Completer(encoder, model).complete(known, torch.Generator())

    assert found.exact and np.isinf(found.effective).all()
    for k in range(2):
        own = found.take(np.array([k]))
        np.testing.assert_allclose(
            shares(rows, own.table, own.weights[0]), expected, atol=1e-5
        )


@pytest.mark.parametrize("name", models(code_encoder()))
def test_draws_follow_the_same_distribution(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "combinations", lambda *arguments: None)
    encoder = code_encoder()
    model = models(encoder)[name]
    given = {"c": "c0"}
    rows, expected = conditional(encoder, model, given)
    generator = torch.Generator().manual_seed(0)
    count = 800

    total = np.zeros(len(rows))
    for found in Completer(encoder, model).complete(
        known_cells(encoder, given, count), generator
    ):
        assert not found.exact and (found.effective > 1).all()
        uniform = torch.rand(len(found.rows), generator=generator).numpy()
        drawn = found.table.take(pa.array(found.choose(uniform)))
        total += shares(rows, drawn, np.ones(len(drawn)))

    assert total.sum() == count
    # Five standard errors, and the bias that falls with the number of draws.
    error = 5 * np.sqrt(expected * (1 - expected) / count) + 0.01
    assert (np.abs(total / count - expected) < error).all()


def test_given_derived_cells_hold_in_all_completions() -> None:
    table = fares()
    encoder = fares_encoder(table)
    model = perturbed("made", encoder.variables, 0.1, hidden=24, components=2)
    count, total = 50, 30
    late = np.zeros((count, len(encoder.columns)), bool)
    late[:, encoder.names.index("total")] = True
    x = np.full((count, encoder.dim), np.nan, np.float32)
    given = pa.table({"total": pa.array([total] * count)})
    known = KnownCells(given, x, late, np.zeros_like(late))
    generator = torch.Generator().manual_seed(0)

    parts = []
    for found in Completer(encoder, model).complete(known, generator):
        uniform = torch.rand(len(found.rows), generator=generator).numpy()
        parts.append(found.table.take(pa.array(found.choose(uniform))))
    rows = pa.concat_tables(parts)

    fare, tip = (rows[name].to_numpy() for name in ("fare", "tip"))
    np.testing.assert_array_equal(fare + tip, total)
    # By rejection from unconditional rows: the mean agrees within 5 standard errors.
    noise = torch.rand(20_000, encoder.dim, 2, generator=generator)
    free = np.concatenate([model.draw(part).numpy() for part in noise.split(4096)])
    drawn = encoder.decode(free)
    kept = drawn["fare"].to_numpy()[drawn["total"].to_numpy() == total]
    error = np.sqrt(kept.var() / len(kept) + kept.var() / count)
    assert len(kept) > 100
    assert abs(fare.mean() - kept.mean()) < 5 * error
    assert 0.5 < fare.std() / kept.std() < 2


def test_noise_covers_each_stratum_once() -> None:
    noise = stratified(3, 8, 2, torch.Generator().manual_seed(0)).reshape(3, 8, 2, 2)
    assert (noise.mul(8).long().sort(1).values == torch.arange(8)[:, None, None]).all()
    assert noise.max() < 1
