"""Tests of outcomes as text."""

import dataclasses

import pytest

from flows.cli import formatting
from flows.deploy.deployments import Change, DeployOutcome
from tasks.evaluation.fidelity.fidelity import FidelityResult, RowCounts
from tasks.evaluation.fidelity.findings import Finding
from tasks.inference.score import ScoreResult
from tasks.monitoring.monitor import MonitorResult
from tasks.registry.promotion import AliasState
from tests.support.schedules import REFUSED, SAMPLED


def test_an_outcome_is_a_paragraph_for_each_step_that_ran() -> None:
    assert formatting.describe(SAMPLED).splitlines() == [
        "[bold]sample    [/] 5 rows; 1.0 s, 5 rows/s",
        "           p",
    ]
    text = formatting.describe(REFUSED)
    assert "100 rows: 90 train, 10 test" in text
    assert "not modelled: note" in text
    assert "models:/a/2 is [yellow]challenger[/]: it is worse" in text
    assert "needs manual approval: [bold]chainrule promote a 2 --reason ...[/]" in text
    assert "gate" not in text


def test_violated_rules_are_shown_with_an_example() -> None:
    finding = Finding(
        check="digits",
        columns=("dep_time",),
        rule="last two digits 0 to 59",
        synthetic=0.354,
        held_out=0.0,
        examples=("1586", "86"),
    )
    result = FidelityResult(
        path="p",
        key="k",
        done=False,
        seconds=1.0,
        page="p/fidelity.html",
        metrics={"samples/two_sample_auc": 0.9},
        rows=RowCounts(train=9, held_out=9, synthetic=9),
        findings=(finding,) * 5,
        separating_columns=(),
    )
    first, *violated = formatting.describe_fidelity(result)
    assert first == "9 rows: two sample auc 0.900"
    assert len(violated) == formatting.MAX_FINDINGS
    assert violated[0] == (
        "dep_time: 35.4 % of the synthetic rows violate 'last two digits 0 to 59', "
        "for example 1586"
    )


def test_a_summary_of_scores_repeats_what_is_wrong_with_p_values() -> None:
    result = ScoreResult(
        path="p",
        key="k",
        done=False,
        seconds=1.0,
        rows_in=3,
        rows_out=3,
        rows_quarantined=0,
        anomalies=1,
        most_anomalous=[],
        rule={"budget": 1.0},
        segments=[],
        bad_files=[],
        missing_columns={},
        rows_per_s=3.0,
    )
    assert len(list(formatting.describe_score(result))) == 1
    wrong = dataclasses.replace(result, p_value_fault="p-values are not uniform")
    _, line = formatting.describe_score(wrong)
    assert line == "[red]when the model was trained, p-values are not uniform[/]"


def test_a_model_worse_than_independent_columns_is_called_so() -> None:
    assert formatting.gain(-12.9616, 4) == "12.9616 nats worse"
    assert formatting.gain(0.257, 2) == "0.26 nats better"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"threshold": 99.9}, "severity at least 99.9"),
        ({"fdr": 0.1}, "q-value at most 0.1"),
        ({"budget": 1200}, "the most anomalous 1,200"),
        ({"budget": 0.01}, "the most anomalous 1 %"),
    ],
)
def test_a_rule_says_which_rows_are_anomalies(
    rule: dict[str, float], text: str
) -> None:
    assert formatting.rule(rule) == text


def test_long_lists_are_cut() -> None:
    assert formatting.listed(list("abc")) == "a, b, c"
    assert formatting.listed(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_aliases_are_listed_with_the_version_that_was_rolled_back() -> None:
    moved = AliasState(name="a", champion="1", previous=None, rolled_back="2")
    assert formatting.describe_aliases(moved).splitlines() == [
        "models:/a/1 is [green]champion[/]",
        "models:/a/2 was rolled back; only [bold]chainrule promote[/] makes it "
        "champion again",
    ]


def test_changes_of_deployments_are_listed() -> None:
    change = Change("deployment", "scheduled-score/a", "update", ("schedules",))
    outcome = DeployOutcome(changes=(change,), pool="chainrule", dry_run=True)
    text = formatting.describe_changes(outcome)
    assert "[yellow]update    [/]deployment scheduled-score/a (schedules)" in text
    assert "dry run" in text
    none = DeployOutcome(changes=(), dry_run=False)
    assert formatting.describe_changes(none) == "no deployments exist"


def test_a_summary_of_samples_says_how_rare_their_categories_are() -> None:
    plain = SAMPLED.sample
    safe = dataclasses.replace(plain, fewest_rows=7)
    copied = dataclasses.replace(plain, fewest_rows=1, rare_cells={"note": 1200})
    assert list(formatting.describe_sample(plain)) == ["5 rows"]
    assert list(formatting.describe_sample(safe))[1] == (
        "every category occurs in at least 7 training rows"
    )
    assert "share: note 1,200" in list(formatting.describe_sample(copied))[1]
    keys = dataclasses.replace(plain, new_keys={"id": "K[a-z]{5}", "note": "null"})
    assert list(formatting.describe_sample(keys))[1].endswith(
        r"not modelled: id K\[a-z]{5}, note null"
    )


def test_periods_are_listed_with_their_new_categories() -> None:
    period = {"rows": 1000, "verdict": "stable", "new_categories": {}}
    days = [{**period, "period": f"2026-01-{day:02}"} for day in range(1, 31)]
    days[-1] |= {"verdict": "drift", "new_categories": {"kind": {"x": 3, "y": 1}}}
    result = MonitorResult(
        path="p",
        key="k",
        done=False,
        seconds=1.0,
        page="p/drift.html",
        verdict="stable",
        reasons=[],
        remedy=None,
        caution=None,
        metrics={},
        periods=days,
        rows_in=30_000,
        rows_out=30_000,
        rows_quarantined=0,
        bad_files=[],
        rows_per_s=9.0,
    )
    lines = list(formatting.describe_monitor(result))
    assert lines[1] == "the latest 14 of 30 periods:"
    assert lines[-1] == "2026-01-30: 1,000 rows, [red]drift[/]; new kind: x, y"
    assert len(lines) == 16
