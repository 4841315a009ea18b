"""Tests of the results of a replay as text."""

from flows.cli import replay_summary
from flows.deploy.replay import ReplayOutcome

PARTITION = {
    "partition": "day=1",
    "promoted": True,
    "rows": 10,
    "drift": {"verdict": "drift", "reasons": []},
    "champion": {"nll": 3.0},
    "challenger": {"nll": 2.5},
    "never retrained": {"nll": 4.0},
}


def test_a_partition_is_one_line() -> None:
    assert replay_summary.line(PARTITION) == (
        "day=1        [green]promoted[/]  [red]drift[/]  NLL of 10 unseen rows: "
        "champion 3.000, challenger 2.500, never retrained 4.000"
    )


def test_models_are_compared_where_there_was_a_champion() -> None:
    first = {**PARTITION, "champion": None, "drift": None, "promoted": False}
    outcome = ReplayOutcome(chart="nll.png", partitions=(first, PARTITION))
    text = replay_summary.describe(outcome)
    assert text.startswith("2 partitions, 1 promotions, 1 drifted")
    assert "champion         3.000 nats per row" in text
    assert text.endswith("chart      nll.png")
