"""Print what a billion rows cost on machines of several sizes, for infra/README.md.

    PYTHONPATH=. python benchmarks/cost.py --write infra/README.md

Nothing is measured here. The costs follow from figures in BENCHMARKS.md by a model:

- Bulk jobs: rows times processor seconds per row, divided by processors and by the
  efficiency that was measured on two of them. The driver's time for all fragments is
  the least that a job takes, and a job's start comes on top.
- Training: an epoch is as many steps as there are global batches. A step takes the
  processor time of its rows, divided among the nodes, and the exchange of gradients:
  a ring sends and receives all parameters twice, less a share of one node.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from harness import header, row, write_section

BILLION = 10**9

CORES = 8
"""Processors of a node."""

DRIVER_SECONDS = 0.00167
"""Time of the driver per fragment, on the wall clock."""

FRAGMENT_ROWS = 100_000
"""Rows per fragment."""

START_SECONDS = 3.2
"""Time from the start of a job to its first fragment."""

PARAMETERS = 1.85e6
"""Parameters of the network whose training is predicted."""

BYTES_PER_S = 1.25e9
"""Bandwidth between two nodes: 10 Gbit/s."""


class Job(NamedTuple):
    """A job whose speed was measured.

    Attributes:
        seconds: Processor seconds per million rows; for training, of one epoch.
        efficiency: Share of the speed of single processes that many together reach.
    """

    seconds: float
    efficiency: float


JOBS = {
    "score, with explanations of flagged rows": Job(70.1, 0.83),
    "the same in bf16": Job(44.1, 1.0),
    "sample": Job(47.0, 0.95),
}
"""Bulk jobs on 20 mixed columns, MADE of 512 units."""

TRAINING = Job(2e6 / 38_119, 1.0)
"""An epoch of training on 30 columns, MADE of two layers of 512 units."""


def node_hours(job: Job) -> float:
    """Return hours of a node for a billion rows."""
    return BILLION / 1e6 * job.seconds / job.efficiency / CORES / 3600


def minutes(job: Job, nodes: int) -> float:
    """Return minutes on the wall clock for a billion rows."""
    driver = BILLION / FRAGMENT_ROWS * DRIVER_SECONDS
    return (START_SECONDS + max(node_hours(job) * 3600 / nodes, driver)) / 60


def training_efficiency(nodes: int, batch: int) -> float:
    """Return the share of a training step that is not the exchange of gradients.

    Args:
        nodes: Number of nodes, with one worker each.
        batch: Rows of a global batch.
    """
    work = batch * TRAINING.seconds / 1e6 / CORES / nodes
    exchange = 2 * 4 * PARAMETERS / BYTES_PER_S * (nodes - 1) / nodes
    return work / (work + exchange)


def tables() -> str:
    """Return the tables of bulk jobs and of training."""
    lines = [
        header("a billion rows", "node-hours", "1 node", "8 nodes", "100 nodes"),
        *(
            row(
                name,
                f"{node_hours(job):.1f}",
                *(f"{minutes(job, nodes):,.0f} min" for nodes in (1, 8, 100)),
            )
            for name, job in JOBS.items()
        ),
        "",
        header("an epoch of a billion rows", *("node-hours, 1 node", "4", "16", "100")),
    ]
    for batch in (1024, 16_384, 262_144):
        hours = (
            node_hours(TRAINING) / training_efficiency(nodes, batch)
            for nodes in (1, 4, 16, 100)
        )
        lines.append(row(f"global batch of {batch:,}", *(f"{h:.1f}" for h in hours)))
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or write them to a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page with the section `cost`")
    arguments = parser.parse_args()
    if arguments.write is None:
        print(tables())
    else:
        write_section(arguments.write, tables(), "cost")


if __name__ == "__main__":
    main()
