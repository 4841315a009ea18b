from pathlib import Path
from typing import Any

import pytest

from tasks.config.gate import GateConfig
from tasks.evaluation.checks import Check
from tasks.registry.gate import gate
from tasks.registry.gate.gate import GateResult
from tests.support.model_pair import ModelPair

SETTINGS = GateConfig(load_check="none")


@pytest.fixture(scope="module")
def verdicts(pair: ModelPair, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the gate's verdicts on either model against the other."""
    root = tmp_path_factory.mktemp("gates")
    # The strong model has learned the random times by heart, and pays for it.
    config = GateConfig(
        load_check="none",
        segments=("kind <b>", "large"),
        min_segment_rows=50,
        order_by="time",
        column_margin=0.9,
    )
    return {
        new: gate.gate(
            pair.models[new],
            pair.models[old],
            pair.prepared,
            f"{root}/{{key}}",
            config,
        )
        for new, old in (("strong", "weak"), ("weak", "strong"))
    }


def by_name(verdict: GateResult) -> dict[str, Check]:
    return {check.name: check for check in verdict.checks}


def test_a_better_model_passes_every_check(verdicts: Any) -> None:
    verdict = verdicts["strong"]
    assert verdict.passed, verdict.reason
    assert not verdict.needs_review
    names = set(by_name(verdict))
    assert {"columns", "rows", "finite", "diversity", "improvement"} <= names
    assert {"p_values", "calibration", "latency_ratio", "size_ratio"} <= names
    assert {"segment/kind <b>=x", "segment/large=True", "column/count"} <= names


def test_a_worse_model_is_refused_with_the_reasons(verdicts: Any) -> None:
    verdict = verdicts["weak"]
    assert not verdict.passed
    checks = by_name(verdict)
    for name in ("improvement", "segment/large=False", "column/count"):
        assert not checks[name].passed
        assert checks[name].remark in verdict.reason
    assert checks["size_ratio"].passed


def test_differences_are_paired_on_the_same_rows(
    verdicts: Any, pair: ModelPair
) -> None:
    nll = {n: e.metrics["test/nll"] for n, e in pair.evaluations.items()}
    improvement = by_name(verdicts["strong"])["improvement"]
    assert improvement.value == pytest.approx(nll["weak"] - nll["strong"], abs=1e-4)
    assert improvement.interval is not None
    low, high = improvement.interval
    assert 0 < low < improvement.value < high


def test_what_was_judged_is_not_judged_again(pair: ModelPair, tmp_path: Path) -> None:
    models = pair.models["strong"], pair.models["weak"]
    place = f"{tmp_path}/{{key}}"
    first = gate.gate(*models, pair.prepared, place, SETTINGS)
    again = gate.gate(*models, pair.prepared, place, SETTINGS)
    assert (first.done, again.done) == (False, True)
    assert again.checks == first.checks
    assert Path(first.path, "gate.json").exists()


def test_the_first_version_shows_what_needs_no_champion(
    pair: ModelPair, tmp_path: Path
) -> None:
    verdict = gate.gate(
        pair.models["weak"],
        None,
        pair.prepared,
        f"{tmp_path}/{{key}}",
        SETTINGS,
    )
    assert set(by_name(verdict)) == {*("rows", "finite", "diversity", "p_value_ks")}
    assert verdict.passed
    assert verdict.reason == "it is the first version"


def test_too_few_rows_ask_for_a_person(pair: ModelPair, tmp_path: Path) -> None:
    verdict = gate.gate(
        pair.models["strong"],
        pair.models["weak"],
        pair.prepared,
        f"{tmp_path}/{{key}}",
        GateConfig(load_check="none", min_rows=10_000),
    )
    assert not verdict.passed
    assert verdict.needs_review
