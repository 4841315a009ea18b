"""What a challenger must show: every check refuses where it should, and tells why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judging import Judged
from tables import code

from ar_models.columns import CodeColumn
from ar_models.comparable import Comparable
from ar_models.density import TableDensity
from ar_models.independent import Independent
from tasks import gate, storage
from tasks.config import GateConfig
from tasks.gate import Check, Findings
from tasks.intervals import distance
from tasks.models import load

SETTINGS = GateConfig(load="none")


@pytest.fixture(scope="module")
def verdicts(judged: Judged, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the gate says of either model against the other."""
    root = tmp_path_factory.mktemp("gates")
    # The strong model has learned the random times by heart, and pays for it.
    config = GateConfig(
        load="none",
        segments=("kind <b>", "large"),
        segment_rows=50,
        newest="time",
        column_margin=0.8,
    )
    return {
        new: gate.gate(
            judged.models[new],
            judged.models[old],
            judged.prepared,
            f"{root}/{{key}}",
            config,
        )
        for new, old in (("strong", "weak"), ("weak", "strong"))
    }


@pytest.fixture(scope="module")
def strong(judged: Judged) -> TableDensity:
    return load(judged.models["strong"])


@pytest.fixture(scope="module")
def rows(judged: Judged) -> pa.Table:
    return pq.read_table(f"{judged.prepared}/test")


@pytest.fixture(scope="module")
def found(strong: TableDensity, rows: pa.Table) -> Findings:
    return gate.findings(Comparable(strong), rows, "model")


def by_name(verdict: dict[str, Any]) -> dict[str, Any]:
    return {check["name"]: check for check in verdict["checks"]}


def test_a_better_model_passes_every_check(verdicts: Any) -> None:
    verdict = verdicts["strong"]
    assert verdict["passed"], verdict["reason"]
    assert not verdict["person"]
    names = set(by_name(verdict))
    assert {"columns", "rows", "finite", "diversity", "improvement"} <= names
    assert {"p_values", "calibration", "slowdown", "growth"} <= names
    assert {"segment/kind <b>=x", "segment/large=True", "column/count"} <= names


def test_a_worse_model_is_refused_with_the_reasons(verdicts: Any) -> None:
    verdict = verdicts["weak"]
    assert not verdict["passed"]
    checks = by_name(verdict)
    for name in ("improvement", "segment/large=False", "column/count"):
        assert not checks[name]["passed"]
        assert checks[name]["remark"] in verdict["reason"]
    assert checks["growth"]["passed"]


def test_differences_are_paired_on_the_same_rows(verdicts: Any, judged: Judged) -> None:
    nll = {n: e["metrics"]["test/nll"] for n, e in judged.evaluations.items()}
    improvement = by_name(verdicts["strong"])["improvement"]
    assert improvement["value"] == pytest.approx(nll["weak"] - nll["strong"], abs=1e-4)
    low, high = improvement["interval"]
    assert 0 < low < improvement["value"] < high


def test_what_was_judged_is_not_judged_again(judged: Judged, tmp_path: Path) -> None:
    models = judged.models["strong"], judged.models["weak"]
    place = f"{tmp_path}/{{key}}"
    first = gate.gate(*models, judged.prepared, place, SETTINGS)
    again = gate.gate(*models, judged.prepared, place, SETTINGS)
    assert (first["done"], again["done"]) == (False, True)
    assert again["checks"] == json.loads(json.dumps(first["checks"]))
    assert Path(first["path"], "gate.json").exists()


def test_the_first_version_shows_what_needs_no_champion(
    judged: Judged, tmp_path: Path
) -> None:
    verdict = gate.gate(
        judged.models["weak"], None, judged.prepared, f"{tmp_path}/{{key}}", SETTINGS
    )
    assert set(by_name(verdict)) == {"rows", "finite", "diversity"}
    assert verdict["passed"]
    assert verdict["reason"] == "it is the first version"


def test_too_few_rows_ask_for_a_person(judged: Judged, tmp_path: Path) -> None:
    verdict = gate.gate(
        judged.models["strong"],
        judged.models["weak"],
        judged.prepared,
        f"{tmp_path}/{{key}}",
        GateConfig(load="none", min_rows=10_000),
    )
    assert not verdict["passed"]
    assert verdict["person"]


def test_models_of_different_columns_ask_for_a_person(strong: TableDensity) -> None:
    assert gate.check_columns(strong, strong).passed
    encoder = strong.encoder
    fewer = type(encoder)(encoder.columns[:-1], encoder.left_out, encoder.schema)
    check = gate.check_columns(TableDensity(fewer, strong.model), strong)
    assert (check.passed, check.person) == (False, True)
    gone = encoder.columns[-1]
    assert f"{gone.name} is {gone.type} in the champion" in check.remark
    assert "not modelled in the challenger" in check.remark


def test_rare_codes_are_not_compared_with_numbers(strong: TableDensity) -> None:
    encoder = strong.encoder
    (j,) = (k for k, c in enumerate(encoder.columns) if c.name == "count")
    number = encoder.columns[j]
    fields = {name: getattr(number, name) for name in ("name", "type", "rows")}
    coded = CodeColumn(
        kind="categorical",
        variables=(code("count", 2),),
        values=(1,),
        specials=("rare",),
        **fields,
    )
    columns = (*encoder.columns[:j], coded, *encoder.columns[j + 1 :])
    other = type(encoder)(columns, encoder.left_out, encoder.schema)
    model = Independent(other.variables)
    check = gate.check_columns(TableDensity(other, model), strong)
    assert (check.passed, check.person) == (False, True)
    assert f"count is {number.type} in the champion" in check.remark
    assert "with rare values as one in the challenger" in check.remark
    again = gate.check_columns(TableDensity(other, model), TableDensity(other, model))
    assert again.passed


def test_an_improvement_within_the_noise_is_refused() -> None:
    rng = np.random.default_rng(0)
    assert not gate.check_improvement(rng.normal(0.01, 1, 1000), SETTINGS).passed
    assert gate.check_improvement(rng.normal(0.3, 1, 1000), SETTINGS).passed
    asking = GateConfig(min_improvement=0.5)
    assert not gate.check_improvement(rng.normal(0.3, 1, 1000), asking).passed


def test_a_segment_that_gets_worse_is_found_behind_a_better_mean() -> None:
    rng = np.random.default_rng(0)
    where = np.array(["north"] * 900 + ["south"] * 300 + ["tiny"] * 20)
    gains = rng.normal(1.0, 1, 1220)
    gains[900:1200] -= 3
    config = GateConfig(segments=("where",))
    assert gate.check_improvement(gains[:1000], config).passed
    checks = gate.check_each_segment(gains, pa.table({"where": where}), config)
    assert {c.name: c.passed for c in checks} == {
        "segment/where=north": True,
        "segment/where=south": False,
    }


def test_rows_of_no_segment_are_one(rows: pa.Table) -> None:
    table = pa.table({"where": pa.array(["a", None] * 300)})
    checks = gate.check_each_segment(
        np.zeros(600), table, GateConfig(segments=("where",))
    )
    assert [c.name for c in checks] == ["segment/where=a", "segment/where=missing"]


def test_a_column_that_gets_worse_is_found_behind_a_better_mean(
    strong: TableDensity, found: Findings
) -> None:
    columns = found.columns.copy()
    columns[:, 1] -= 1.0
    columns[:, 0] += 5.0
    worse = replace(found, columns=columns)
    checks = gate.check_each_column(strong, strong, worse, found, SETTINGS)
    assert [c.name for c in checks if not c.passed] == [f"column/{strong.columns[1]}"]


def test_a_probability_of_nothing_is_refused(found: Findings) -> None:
    columns = found.columns.copy()
    columns[3] = -np.inf
    columns[5] = np.nan
    check = gate.check_finite(replace(found, columns=columns))
    assert (check.value, check.passed) == (2, False)
    assert gate.check_finite(found).passed


def test_one_score_for_all_rows_is_refused(
    strong: TableDensity, rows: pa.Table, found: Findings
) -> None:
    assert gate.check_diversity(found, strong, rows, SETTINGS).passed
    dull = replace(found, scores=np.ones_like(found.scores))
    assert not gate.check_diversity(dull, strong, rows, SETTINGS).passed


def test_worse_calibration_is_refused(found: Findings) -> None:
    assert found.p_values is not None
    assert all(c.passed for c in gate.check_calibration(found, found, SETTINGS))
    squeezed = replace(
        found,
        p_values=found.p_values / 2,
        ks={**found.ks, "count": found.ks["count"] + 0.2},
    )
    failed = [
        c for c in gate.check_calibration(squeezed, found, SETTINGS) if not c.passed
    ]
    assert [c.name for c in failed] == ["p_values", "calibration"]
    assert "of count" in failed[1].remark
    without = replace(found, p_values=None)
    assert not next(iter(gate.check_calibration(without, found, SETTINGS))).passed


def test_few_rows_are_allowed_what_happens_by_chance() -> None:
    rng = np.random.default_rng(0)
    bound = gate.by_chance(300, 15, 0.95)
    found = [max(distance(rng.random(300)) for _ in range(15)) for _ in range(200)]
    # 0.05 is expected at most; another seed would have more than this by 3 %.
    assert np.mean(np.array(found) > bound) <= 0.08
    assert gate.by_chance(50_000, 15, 0.95) < 0.01


def test_a_slow_or_large_model_is_refused(strong: TableDensity, rows: pa.Table) -> None:
    check = gate.check_speed(strong, strong, rows, GateConfig(max_slowdown=1e-6))
    assert not check.passed
    # The same model takes the same time, within what a busy machine adds.
    assert gate.check_speed(strong, strong, rows, GateConfig(max_slowdown=5)).passed
    assert not gate.check_size([500, 100], SETTINGS).passed
    assert gate.check_size([300, 100], SETTINGS).passed


def test_rows_that_the_champion_learned_from_do_not_count(
    judged: Judged, strong: TableDensity
) -> None:
    about = storage.read_json(f"{judged.prepared}/_manifest.json")
    profiled = storage.read_json(f"{judged.prepared}/profile.json")
    rule = {"config": about["config"], "boundaries": profiled["boundaries"]}
    strong = replace(strong, info={**strong.info, "division": rule})
    for split, learned in (("train", 1), ("valid", 1), ("calibration", 0), ("test", 0)):
        seen = gate.learned_from(strong, pq.read_table(f"{judged.prepared}/{split}"))
        assert seen is not None
        assert seen.mean() == learned


def test_another_champions_split_leaves_what_it_held_out(
    judged: Judged, strong: TableDensity
) -> None:
    about = storage.read_json(f"{judged.prepared}/_manifest.json")
    other = {**about["config"], "split": {**about["config"]["split"], "seed": 1}}
    rule = {"config": other, "boundaries": []}
    champion = replace(strong, info={**strong.info, "division": rule})
    table, remark = gate.compared_rows(champion, judged.prepared, about, SETTINGS)
    share = table.num_rows / about["rows"]["test"]
    assert 0.3 < share < 0.5  # It held out 0.4.
    assert "none of which either model learned from" in remark


def test_the_newest_rows_are_taken(judged: Judged, strong: TableDensity) -> None:
    about = storage.read_json(f"{judged.prepared}/_manifest.json")
    whole = pq.read_table(f"{judged.prepared}/test")
    config = GateConfig(rows=50, newest="time")
    table, _ = gate.compared_rows(strong, judged.prepared, about, config)
    assert table.num_rows == 50
    times = np.sort(whole["time"].to_numpy())
    assert np.array_equal(np.sort(table["time"].to_numpy()), times[-50:])
    table, remark = gate.compared_rows(
        strong, judged.prepared, about, GateConfig(rows=50)
    )
    assert table["id"].to_pylist() == whole["id"].to_pylist()[-50:]
    assert "in the order of the files" in remark


def test_a_version_that_does_not_load_elsewhere_is_refused(
    judged: Judged, strong: TableDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(uri: str, rows: pa.Table, *, clean: bool) -> np.ndarray:
        return strong.log_prob(rows) + 0.1

    def broken(uri: str, rows: pa.Table, *, clean: bool) -> np.ndarray:
        raise RuntimeError("No module named 'tasks'")

    about = storage.read_json(f"{judged.prepared}/_manifest.json")
    config = GateConfig(load="process")
    for program, said in ((other, "differ by 1.0e-01"), (broken, "No module named")):
        monkeypatch.setattr(gate.consumer, "log_probs", program)
        check = gate.check_loads(strong, "uri", judged.prepared, about, config)
        assert not check.passed
        assert said in check.remark


def test_an_unknown_segment_is_named(judged: Judged, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gate.segments: there is no column .where."):
        gate.gate(
            judged.models["weak"],
            None,
            judged.prepared,
            str(tmp_path / "gate"),
            GateConfig(segments=("where",)),
        )


def test_checks_become_metrics_and_a_table() -> None:
    checks = [
        Check("segment/a=b <c>", 1.0, True, "fine", interval=(0.5, 1.5), bound=-0.5),
        Check("finite", 2, False, "2 rows", bound=0),
    ]
    dicts = [vars(check) for check in checks]
    assert gate.metrics(dicts) == {
        "gate/segment/a_b _c_": 1.0,
        "gate/segment/a_b _c__passed": 1.0,
        "gate/segment/a_b _c__low": 0.5,
        "gate/segment/a_b _c__high": 1.5,
        "gate/finite": 2.0,
        "gate/finite_passed": 0.0,
    }
    shown = gate.as_table(dicts)
    assert shown[0]["interval"] == "+0.5000 to +1.5000"
    assert (shown[1]["passed"], shown[1]["bound"]) == ("no", "0")
