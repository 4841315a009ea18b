"""Empty cells filled: by the conditional, given what is known, and nothing else."""

import math

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.tables import arrow
from tests.support.densities import impute_table, random_density, sample_table
from tests.support.tables import table_encoder

NUMBERS = ("delay", "amount")


def test_a_null_is_unknown_and_not_the_state_missing(agnostic: TableDensity) -> None:
    encoder, model = agnostic.encoder, agnostic.model
    row = {"carrier": ["AA"], "delay": [None], "amount": [2.5]}
    table = pa.table({**row, "time": pa.array([1_360_000_000], pa.timestamp("s"))})
    table = table.cast(
        pa.schema([(n, encoder.schema.field(n).type) for n in table.schema.names])
    )
    x = torch.from_numpy(encoder.encode(table).x)
    known = torch.ones_like(x, dtype=torch.bool)
    known[:, 1:3] = False
    x[:, 1] = 0  # not missing
    only_state = known.clone()
    only_state[:, 1] = True
    with torch.inference_mode():
        value = model.conditionals_given(x, only_state)

    filled = impute_table(agnostic, table, method="median", details=True)

    expected = int(value.quantile(0.5)[0, 2])
    assert filled["delay"].to_pylist() == [expected]
    told = filled["imputed"].to_pylist()[0][0]
    x[:, 2] = expected
    assert told["column"] == "delay"
    assert told["probability"] == pytest.approx(
        float(value.log_prob(x)[0, 2].exp()), rel=1e-4
    )
    assert told["low"] == str(int(value.quantile(0.05)[0, 2]))
    assert told["high"] == str(int(value.quantile(0.95)[0, 2]))


def test_draws_follow_the_conditional_without_the_missing(
    agnostic: TableDensity,
) -> None:
    # Chi-square with at most 2 degrees of freedom: above 28 with odds of 1e-6.
    one = sample_table(agnostic, 1, seed=3).to_pylist()[0]
    row = one | {"delay": 5, "amount": None}
    table = pa.Table.from_pylist([row] * 3000, schema=agnostic.encoder.schema)
    filled = impute_table(agnostic, table, seed=4, details=True)
    x = torch.from_numpy(agnostic.encoder.encode(filled.slice(0, 1)).x)
    known = torch.ones_like(x, dtype=torch.bool)
    known[:, 7:] = False
    with torch.inference_mode():
        state = agnostic.model.conditionals_given(x, known).probabilities(7)[0].tolist()

    on_atom = int(pc.sum(pc.equal(filled["amount"], 0.0)).as_py())

    share = state[2] / (state[0] + state[2])  # of the atom; code 1 is missing
    error = math.sqrt(3000 * share * (1 - share))
    assert abs(on_atom - 3000 * share) < 5 * error  # fails by chance 6e-7
    told = [cells[0]["probability"] for cells in filled["imputed"].to_pylist()]
    zero = pc.equal(filled["amount"], 0.0).to_pylist()
    assert told[zero.index(True)] == pytest.approx(share, rel=1e-4)


def test_points_are_medians_means_and_likeliest_categories(
    agnostic: TableDensity,
) -> None:
    # Means of 4000 draws of a row: off by more than 5 standard errors once in 1e6.
    one = sample_table(agnostic, 1, seed=6).to_pylist()[0]
    for name in ("amount", "delay", "carrier"):
        row = one | {"delay": 5, name: None}
        table = pa.Table.from_pylist([row] * 4000, schema=agnostic.encoder.schema)
        drawn = impute_table(agnostic, table, seed=4)[name]
        median, mean = (
            impute_table(agnostic, table.slice(0, 1), method=m, details=True)
            for m in ("median", "mean")
        )
        told = median["imputed"].to_pylist()[0][0]
        if name == "carrier":
            counts = {
                c["values"]: c["counts"] for c in drawn.value_counts().to_pylist()
            }
            top = median[name][0].as_py()
            assert mean[name][0].as_py() == top
            assert counts[top] > max(counts.values()) - 200
            assert told["probability"] == pytest.approx(counts[top] / 4000, abs=0.04)
            assert told["low"] is None
            continue
        values = drawn.to_numpy().astype(float)
        middle = median[name][0].as_py()
        assert (values <= middle).mean() >= 0.5 - 0.04
        assert (values >= middle).mean() >= 0.5 - 0.04
        low, high = float(told["low"]), float(told["high"])
        assert (values < low).mean() == pytest.approx(0.05, abs=0.05)
        assert (values > high).mean() == pytest.approx(0.05, abs=0.05)
        inner = values[(values >= low) & (values <= high)]
        spread = inner.max() - inner.min()
        assert abs(mean[name][0].as_py() - values.mean()) < 0.25 * spread + 1


def test_cells_of_a_row_are_drawn_together(agnostic: TableDensity) -> None:
    one = sample_table(agnostic, 1, seed=3).to_pylist()[0]
    row = one | {"carrier": None, "delay": None, "amount": None}
    table = pa.Table.from_pylist([row] * 50, schema=agnostic.encoder.schema)

    filled = impute_table(agnostic, table, seed=4, details=True)

    told = [{c["column"] for c in row} for row in filled["imputed"].to_pylist()]
    assert told == [{"carrier", "delay", "amount"}] * 50
    assert not filled.equals(impute_table(agnostic, table, seed=5, details=True))
    assert filled.equals(impute_table(agnostic, table, seed=4, details=True))
    assert sum(filled[n].null_count for n in ("carrier", "delay", "amount")) == 0


def test_a_column_of_many_states_has_quantiles_on_its_atoms() -> None:
    density = random_density("eonade")
    with torch.no_grad():
        # The state of `amount` is an atom with a share of about 0.76.
        density.model.last.weight.zero_()
        density.model.last.bias.copy_(density.model.layout.initial_bias())
        owner = density.model.layout.variable_index == 7
        density.model.last.bias[owner] = torch.tensor([0.2, 0.5, 0.65]).log()
    row = sample_table(density, 1, seed=3).to_pylist()[0] | {"amount": None}
    table = pa.Table.from_pylist([row], schema=density.encoder.schema)

    filled = impute_table(density, table, method="median", details=True)

    assert filled["amount"].to_pylist() == [0.0]
    told = filled["imputed"].to_pylist()[0][0]
    assert told["probability"] == pytest.approx(0.65 / 0.85, rel=1e-4)
    assert told["low"] == "0.0" and float(told["high"]) > 1


def test_the_encoder_of_these_tests_has_every_kind() -> None:
    kinds = {arrow.family(field.type) for field in table_encoder().schema}
    assert kinds == {"text", "integer", "timestamp", "real"}
