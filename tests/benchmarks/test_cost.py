"""Tests of the costs in infra/README.md: their figures, and what follows from them."""

from pathlib import Path
from types import ModuleType

import pytest

from tasks.config.score import ScoreConfig
from tests.support.scripts import import_script

ROOT = Path(__file__).parents[2]
MEASURED = (ROOT / "BENCHMARKS.md").read_text()


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    return import_script("cost")


def test_the_page_has_the_tables_of_the_script(cost: ModuleType) -> None:
    harness = import_script("harness")
    page = ROOT / "infra" / "README.md"
    assert harness.read_section(page, "cost") == f"{cost.tables()}\n"


def test_figures_are_those_that_were_measured(cost: ModuleType) -> None:
    score, rough, sample = cost.JOBS.values()
    for cells in (
        f"| score | 1 | {cost.START_SECONDS} | {score.seconds} | 1.00 |",
        f"| {score.efficiency} |",
        f"| combined, explain flagged, bf16 | {rough.seconds} |",
        f"| sample | 1 | 2.8 | {sample.seconds} | 1.00 |",
        f"| {sample.efficiency} |",
        f"| {2e6 / cost.TRAINING.seconds:,.0f} |",
        f"on two actors: {1000 * cost.DRIVER_SECONDS:.2f} ms each",
    ):
        assert cells in MEASURED, cells
    assert ScoreConfig().rows_per_fragment == cost.FRAGMENT_ROWS


def test_costs_follow_from_the_model(cost: ModuleType) -> None:
    job = cost.Job(seconds=36.0, efficiency=0.5)
    # 36,000 processor seconds, twice as many by the efficiency, on eight processors.
    assert cost.node_hours(job) == pytest.approx(72_000 / 8 / 3600)
    assert cost.minutes(job, 1) == pytest.approx((9000 + cost.START_SECONDS) / 60)
    # However many nodes, the driver has 10,000 fragments to give out.
    assert cost.minutes(job, 10**6) == pytest.approx((16.7 + cost.START_SECONDS) / 60)


def test_larger_batches_and_fewer_nodes_train_more_efficiently(
    cost: ModuleType,
) -> None:
    assert cost.training_efficiency(1, 1024) == 1
    found = [cost.training_efficiency(n, 16_384) for n in (1, 4, 16, 100)]
    assert found == sorted(found, reverse=True)
    assert cost.training_efficiency(16, 262_144) > cost.training_efficiency(16, 1024)
