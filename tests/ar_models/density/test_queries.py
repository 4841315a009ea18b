"""Probabilities of predicates: equal to those by enumeration of all rows."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.queries import Questions
from ar_models.density.table_density import TableDensity
from tests.support.columns import fit_columns
from tests.support.constraints import fares, fares_encoder
from tests.support.densities import random_density, sample_table
from tests.support.models import perturbed


def small(family: str, **settings: object) -> TableDensity:
    """Return a density of a category, a number and a flag, with random weights."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "kind": rng.choice(["a", "b", "c's"], 800),
            "count": rng.integers(0, 100, 800),
            "flag": rng.choice(["no", "yes"], 800),
        }
    )
    encoder = fit_columns(table)
    return TableDensity(
        encoder, perturbed(family, encoder.variables, 0.3, hidden=24, **settings)
    )


DENSITIES = {
    "made": small("made", components=2),
    "orderings": small("made", components=2, ordering="random", orderings=3),
    "rnn": small("rnn", components=2),
}


def share(density: TableDensity, asked: object, known: object) -> float:
    """Return a conditional probability by enumeration of all rows."""
    rows = pa.table(
        dict(
            zip(
                ("kind", "count", "flag"),
                map(
                    list,
                    zip(
                        *itertools.product("abc", range(-50, 151), ("no", "yes")),
                        strict=True,
                    ),
                ),
                strict=True,
            )
        )
    )
    kinds = ["c's" if kind == "c" else kind for kind in rows["kind"].to_pylist()]
    rows = rows.set_column(0, "kind", pa.array(kinds))
    encoded = density.encoder.encode(rows)
    with torch.inference_mode():
        log_prob = density.model.log_prob(torch.from_numpy(encoded.x)).double()
    weight = log_prob.exp().numpy() * (encoded.out_of_support == 0).all(1)
    cells = rows.to_pylist()
    hold = np.array([bool(known(row)) for row in cells])  # type: ignore[operator]
    both = hold & np.array([bool(asked(row)) for row in cells])  # type: ignore[operator]
    return float(weight[both].sum() / weight[hold].sum())


CASES = [
    ("kind = 'c''s'", "", lambda r: r["kind"] == "c's", lambda r: True),
    (
        "kind in ('a', 'b')",
        "flag = 'yes'",
        lambda r: r["kind"] in "ab",
        lambda r: r["flag"] == "yes",
    ),
    ("count > 60", "", lambda r: r["count"] > 60, lambda r: True),
    (
        "count between 20 and 22",
        "flag = 'no' and kind <> 'a'",
        lambda r: 20 <= r["count"] <= 22,
        lambda r: r["flag"] == "no" and r["kind"] != "a",
    ),
    (
        "kind = 'a' or (count < 30 and not flag = 'yes')",
        "count <= 50.5",
        lambda r: r["kind"] == "a" or (r["count"] < 30 and r["flag"] != "yes"),
        lambda r: r["count"] <= 50,
    ),
    (
        "kind = 'b' and count = 17",
        "flag = 'yes'",
        lambda r: r["kind"] == "b" and r["count"] == 17,
        lambda r: r["flag"] == "yes",
    ),
    (
        "flag is not null and kind like 'c%'",
        "count = 40",
        lambda r: r["kind"] == "c's",
        lambda r: r["count"] == 40,
    ),
]


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize(("asked", "given", "holds", "known"), CASES)
def test_answers_are_those_by_enumeration(
    name: str, asked: str, given: str, holds: object, known: object
) -> None:
    density = DENSITIES[name]
    expected = share(density, holds, known)

    answer = Questions(density).ask(asked, given, seed=3)

    width = answer.high - answer.low
    assert answer.low <= answer.probability <= answer.high
    if answer.exact:
        assert answer.probability == pytest.approx(expected, rel=1e-3)
    else:
        # The interval has the value with 95 %; twice as far out it fails 1 in 1e4.
        assert abs(answer.probability - expected) < width + 1e-3
        assert width < 0.1 + 0.5 * expected
        assert 0 < answer.effective <= 4096


def test_codes_before_all_numbers_are_counted() -> None:
    answer = Questions(DENSITIES["made"]).ask("kind = 'b'")
    assert answer.exact and answer.low == answer.high == answer.probability
    assert not Questions(DENSITIES["made"]).ask("flag = 'no'").exact


def test_rare_conjunctions_of_derived_columns_are_found() -> None:
    encoder = fares_encoder(fares())
    model = perturbed("made", encoder.variables, 0.1, hidden=24, components=2)
    density = TableDensity(encoder, model)
    rows = sample_table(density, 20_000, seed=1)
    total, tip = rows["total"].to_numpy(), rows["tip"].to_numpy()
    hits = (total >= 40) & (total < 50) & (tip <= 2)

    answer = Questions(density).ask("total >= 40 and total < 50 and tip <= 2", seed=2)

    error = np.sqrt(hits.mean() / len(hits))
    assert abs(answer.probability - hits.mean()) < 5 * error + answer.high - answer.low
    sure = Questions(density).ask("total >= 3", "tip = 5", seed=2)
    assert sure.probability == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delay >", "expected a value"),
        ("delay > 'late'", r"column 'delay' is int64, which 'late' is not"),
        ("carrier = UA", "expected a number, a text in single quotes"),
        ("carrier = 5", "a text stands in single quotes"),
        ("speed > 5", "column 'speed' is unknown or not modelled; columns are carrier"),
        ("delay > 5 carrier", "expected `and`, `or` or the end"),
        ("delay ; 5", "character 7: ';' is not part of one"),
        ("(delay > 5", r"expected '\)'"),
        ("delay like 'x'", "holds no text"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Questions(random_density("made")).ask(text)


def test_what_is_never_true_cannot_be_given() -> None:
    density = random_density("made")
    with pytest.raises(ValueError, match="given \"carrier = 'XX'\": no row satisfies"):
        Questions(density).ask("delay > 5", "carrier = 'XX'")
    with pytest.raises(ValueError, match="VAE has only a bound"):
        Questions(random_density("vae"))
    assert Questions(density).ask("year = 2013").probability == 1
    none = Questions(density).ask("carrier = 'XX'")
    assert none.probability == 0
