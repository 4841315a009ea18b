"""Whether new data is fit to learn from, and what is said when it is not."""

import copy
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from judging import Judged

from tasks import contract, storage, tracking
from tasks.config import ContractConfig
from tasks.profile import TOP, Points, distribution

CONFIG = ContractConfig()


@pytest.fixture(scope="module")
def facts(judged: Judged) -> dict[str, Any]:
    read = {
        file.removesuffix(".json"): storage.read_json(f"{judged.prepared}/{file}")
        for file in contract.FACTS
    }
    return {"version": "7", **read}


def failed(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_the_same_data_is_fit(judged: Judged, facts: dict[str, Any]) -> None:
    verdict = contract.check(judged.prepared, facts, CONFIG)
    assert verdict["passed"]
    assert verdict["fit"]
    assert verdict["reference"] == "7"
    names = [check["name"] for check in verdict["checks"]]
    assert {"min_rows", "columns", "rows_ratio", "nulls/count"} <= set(names)
    assert {"drift/count", "drift/kind <b>", "drift/large"} <= set(names)
    assert "drift/time" not in names  # Time moves on.


def test_the_first_data_is_held_against_no_other(judged: Judged) -> None:
    verdict = contract.check(judged.prepared, None, CONFIG)
    assert verdict["passed"]
    few = contract.check(judged.prepared, None, ContractConfig(min_rows=10_000))
    assert failed(few) == ["min_rows"]


def spoil_columns(facts: dict[str, Any]) -> None:
    columns = facts["schema"]["columns"]
    columns[1]["type"] = "int64"
    columns.append({"name": "gone", "type": "bool", "nullable": True})


def spoil_rows(facts: dict[str, Any]) -> None:
    facts["profile"]["rows"]["train"] *= 3


def spoil_nulls(facts: dict[str, Any]) -> None:
    column(facts, "count")["missing"] = -1000


def spoil_numbers(facts: dict[str, Any]) -> None:
    pairs = column(facts, "amount")["distribution"]
    column(facts, "amount")["distribution"] = [[v + 5, share] for v, share in pairs]


def spoil_words(facts: dict[str, Any]) -> None:
    top = column(facts, "kind <b>")["top"]
    top[0][0] = "another"


def column(facts: dict[str, Any], name: str) -> Any:
    return next(c for c in facts["profile"]["columns"] if c["name"] == name)


@pytest.mark.parametrize(
    ("spoil", "names", "said"),
    [
        (spoil_columns, ["columns"], "gone is gone"),
        (spoil_rows, ["rows_ratio"], "the champion's dataset had"),
        (spoil_nulls, ["nulls/count"], "nulls"),
        (spoil_numbers, ["drift/amount"], "away from those of the champion's"),
        (spoil_words, ["drift/kind <b>"], "away from those of the champion's"),
    ],
)
def test_data_that_is_not_as_it_was_is_refused_with_the_reason(
    judged: Judged,
    facts: dict[str, Any],
    spoil: Any,
    names: list[str],
    said: str,
) -> None:
    other = copy.deepcopy(facts)
    spoil(other)
    verdict = contract.check(judged.prepared, other, CONFIG)
    assert not verdict["passed"]
    assert failed(verdict) == names
    assert said in verdict["reason"]
    warned = contract.check(judged.prepared, other, ContractConfig(on_failure="warn"))
    assert (warned["passed"], warned["fit"]) == (True, False)


def test_new_columns_are_allowed_unless_all_must_be_the_same(
    judged: Judged, facts: dict[str, Any]
) -> None:
    other = copy.deepcopy(facts)
    other["schema"]["columns"].pop(0)
    assert contract.check(judged.prepared, other, CONFIG)["passed"]
    same = contract.check(judged.prepared, other, ContractConfig(columns="same"))
    assert failed(same) == ["columns"]
    spoil_columns(other)
    assert contract.check(judged.prepared, other, ContractConfig(columns="any"))["fit"]


def test_distances_of_numbers_are_exact_to_the_grid() -> None:
    rng = np.random.default_rng(0)
    samples = [np.sort(rng.normal(shift, 1, 4000)) for shift in (0, 0.5)]
    told = [distribution(Points(s, np.ones(len(s)))) for s in samples]
    both = np.concatenate(samples)
    reached = [np.searchsorted(s, both, side="right") / len(s) for s in samples]
    exact = np.abs(reached[0] - reached[1]).max()
    assert contract.ks(*told) == pytest.approx(exact, abs=2 / 64)
    assert contract.ks(told[0], told[0]) == 0
    coin = [
        distribution(Points(np.array([0, 1]), np.array(c))) for c in ([7, 3], [4, 6])
    ]
    assert contract.ks(*coin) == pytest.approx(0.3)


def test_distances_of_words_do_not_count_what_is_only_not_named() -> None:
    few = {"a": 0.5, "b": 0.5}
    assert contract.total_variation(few, {"a": 0.2, "c": 0.8}) == pytest.approx(0.8)
    ours = {f"w{k}": 0.01 for k in range(TOP)}
    theirs = {f"w{k}": 0.01 for k in range(5, TOP + 5)}
    assert contract.total_variation(ours, theirs) == pytest.approx(0)


def test_a_champion_tells_later_runs_what_it_learned_from(
    judged: Judged, tmp_path: Path
) -> None:
    assert contract.reference_of("unheard of") is None
    run_id = tracking.start("telling facts", "key", {}, {})
    contract.log_facts(run_id, judged.prepared)
    client = mlflow.MlflowClient()
    client.create_registered_model("telling facts")
    client.create_model_version("telling facts", str(tmp_path), run_id)
    client.set_registered_model_alias("telling facts", "champion", "1")
    found = contract.reference_of("telling facts")
    assert found is not None
    assert found["version"] == "1"
    assert found["profile"] == storage.read_json(f"{judged.prepared}/profile.json")
