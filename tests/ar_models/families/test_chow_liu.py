import math

import numpy as np
import pytest

from ar_models.families.chow_liu import (
    dependence_orderings,
    group_codes,
    grow_tree,
    mutual_information,
)
from ar_models.variables import Variable, binary_variables
from tests.support.dependent_columns import chain_of_bits


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
