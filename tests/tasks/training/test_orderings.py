"""Orderings from data and from names."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ar_models.families.chow_liu import (
    dependence_orderings,
    group_codes,
    grow_tree,
    mutual_information,
)
from ar_models.variables import Variable, binary_variables
from tasks.config.load import load
from tasks.training import orderings


def chain_of_bits(rows: int) -> np.ndarray:
    """Columns 2, 0, 3, 1 form a chain of copies with errors; 4 is independent."""
    rng = np.random.default_rng(0)
    x = np.empty((rows, 5), dtype=np.float32)
    x[:, 2] = rng.random(rows) < 0.5
    for before, after, error in ((2, 0, 0.1), (0, 3, 0.2), (3, 1, 0.15)):
        x[:, after] = np.where(rng.random(rows) < error, 1 - x[:, before], x[:, before])
    x[:, 4] = rng.random(rows) < 0.5
    return x


def entropy(error: float) -> float:
    return -error * math.log(error) - (1 - error) * math.log(1 - error)


def test_mutual_information_of_noisy_copies_by_hand() -> None:
    information = mutual_information(
        group_codes(binary_variables(5), chain_of_bits(200_000))
    )

    assert information[2, 0] == pytest.approx(math.log(2) - entropy(0.1), abs=0.005)
    # Two channels in a row: 0.1 x 0.8 + 0.9 x 0.2.
    assert information[2, 3] == pytest.approx(math.log(2) - entropy(0.26), abs=0.005)
    assert np.allclose(information, information.T)
    assert information[4].max() < 1e-4
    assert (np.diag(information) == 0).all()


def test_chance_does_not_count_as_information() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, (10_000, 40))

    information = mutual_information(codes)

    # Without the correction every pair would have about 29 x 29 / 20,000 = 0.042 nats.
    assert information.mean() < 0.004


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 3, (500, 7))
    whole = mutual_information(codes)

    monkeypatch.setattr("ar_models.families.chow_liu.PRODUCT_CODES", 64)

    assert np.allclose(mutual_information(codes), whole)


def test_a_tree_grows_by_its_strongest_edges() -> None:
    weights = np.zeros((4, 4))
    for i, j, weight in ((0, 3, 5), (3, 1, 4), (0, 2, 3), (1, 2, 1), (0, 1, 2)):
        weights[i, j] = weights[j, i] = weight

    assert grow_tree(weights, 0) == [0, 3, 1, 2]
    assert grow_tree(weights, 2) == [2, 0, 3, 1]


def test_each_group_follows_the_one_that_it_depends_on() -> None:
    first, second = dependence_orderings(binary_variables(5), chain_of_bits(20_000), 2)

    # 0 stands amid the chain and tells most; its strongest link is to 2.
    assert first == [0, 2, 3, 1, 4]
    assert second[0] == 2 or second[0] == 3
    assert sorted(second) == [0, 1, 2, 3, 4]


def test_absence_and_nonlinear_links_of_mixed_columns_are_seen() -> None:
    rng = np.random.default_rng(0)
    rows = 4000
    z = rng.normal(size=rows)
    state = (z > 1).astype(float)
    variables = (
        Variable("noise", "real", 0),
        Variable("square", "integer", 1),
        Variable("z.state", "categorical", 2, size=2),
        Variable("z", "real", 2, parent=2),
        Variable("when", "categorical", 7, size=5),
    )
    x = np.stack(
        [
            rng.normal(size=rows),
            np.round(10 * z * z),
            state,
            np.where(state == 0, z, np.nan),
            np.where(state == 0, 0.0, rng.integers(1, 5, rows)),
        ],
        1,
    )

    (sequence,) = dependence_orderings(variables, x)

    assert sequence == [2, 1, 7, 0]
    assert group_codes(variables, x).max() < 32


def test_more_orderings_than_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="at most as many .* 5, got orderings=6"):
        dependence_orderings(binary_variables(5), chain_of_bits(10), 6)


def write(folder: Path, x: np.ndarray) -> None:
    """Write encoded rows in two files of several batches."""
    folder.mkdir(parents=True)
    for k, part in enumerate(np.array_split(x, 2)):
        values = pa.FixedSizeListArray.from_arrays(part.ravel(), x.shape[1])
        batches = pa.table({"x": values}).to_batches(max_chunksize=700)
        with pa.ipc.new_file(folder / f"part-{k}.arrow", batches[0].schema) as file:
            for batch in batches:
                file.write_batch(batch)


class Encoder:
    """Encoder with the attributes that orderings need."""

    def __init__(self, dim: int) -> None:
        self.variables = binary_variables(dim)
        self.columns = [type("Column", (), {"name": f"c{i}"}) for i in range(dim)]


def resolve(folder: Path, **model: Any) -> Any:
    given = {"orderings": 1, "seed": 0} | model
    resolved = orderings.resolve(given, Encoder(5), str(folder))  # type: ignore[arg-type]
    assert resolved | {"ordering": None} == given | {"ordering": None}
    return resolved["ordering"]


def test_dependence_is_learned_from_the_encoded_rows(tmp_path: Path) -> None:
    write(tmp_path / "encoded/train", chain_of_bits(5000))

    assert resolve(tmp_path, ordering="dependence") == [[0, 2, 3, 1, 4]]


def test_some_rows_come_from_all_files(tmp_path: Path) -> None:
    x = np.arange(5000, dtype=np.float32).reshape(-1, 1)
    write(tmp_path / "train", x)

    some = orderings.sample_rows(str(tmp_path / "train"), 100)[:, 0]

    assert 100 <= len(set(some.tolist())) == len(some) < 130
    assert np.abs(np.quantile(some, [0.25, 0.5, 0.75]) - [1250, 2500, 3750]).max() < 150


def test_named_columns_come_first(tmp_path: Path) -> None:
    assert resolve(tmp_path, ordering=["c3", "c1"]) == [[3, 1, 0, 2, 4]]
    more = resolve(tmp_path, ordering=["c3"], orderings=3)
    assert [one[0] for one in more] == [3, 3, 3]
    assert len(set(map(tuple, more))) == 3
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in more)


def test_families_with_one_ordering_take_names_too(tmp_path: Path) -> None:
    given = {"family": "vae", "decoder": "made", "ordering": ["c3"], "seed": 0}

    resolved = orderings.resolve(given, Encoder(5), str(tmp_path))  # type: ignore[arg-type]

    assert resolved == given | {"ordering": [[3, 0, 1, 2, 4]]}


@pytest.mark.parametrize("ordering", ["natural", "random"])
def test_other_orderings_stay(tmp_path: Path, ordering: str) -> None:
    assert resolve(tmp_path, ordering=ordering) == ordering


@pytest.mark.parametrize(
    ("ordering", "message"),
    [
        (["c1", "price"], "no modelled column 'price'; available columns: c0, c1,"),
        (["c1", "c1"], r"duplicate column in \['c1', 'c1'\]"),
    ],
)
def test_wrong_names_are_named(
    tmp_path: Path, ordering: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(tmp_path, ordering=ordering)


def test_a_mistaken_ordering_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: x}\nmodel: {ordering: sideways}\n")

    with pytest.raises(ValueError, match="'natural', 'random', 'dependence', ") as said:
        load(path)

    assert "  model.ordering: " in str(said.value)
