"""Checks of the gate on cost: the time to score rows and the size of the weights."""

import time
from collections.abc import Sequence

import pyarrow as pa

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.evaluation import held_out
from tasks.evaluation.checks import Check, at_most

REPEATS = 5
"""Number of times that a batch is scored to measure latency; the fastest counts."""

BATCH_ROWS = held_out.READ_ROWS // 4
"""Number of rows that are scored to measure latency."""


def check_latency(
    new: TableDensity, old: TableDensity, table: pa.Table, config: GateConfig
) -> Check:
    """Check that scoring a row takes about as much processor time as before.

    Args:
        new: The challenger.
        old: The champion.
        table: Rows to score.
        config: The largest ratio of the two times.
    """
    batch = table.slice(0, BATCH_ROWS)
    fastest = [float("inf"), float("inf")]
    # Alternately, so that other load on the machine slows down both.
    for _ in range(REPEATS):
        for k, density in enumerate((new, old)):
            # Processor time: other processes lengthen the wall-clock time.
            began = time.process_time()
            Scorer(density, ScoreOptions(explain="none")).score(batch)
            fastest[k] = min(fastest[k], time.process_time() - began)
    rates = [batch.num_rows / seconds for seconds in fastest]
    remark = (
        f"{rates[0]:,.0f} rows per second of processor time, the champion "
        f"{rates[1]:,.0f}"
    )
    ratio = fastest[0] / fastest[1]
    return at_most("latency_ratio", ratio, config.max_latency_ratio, remark)


def check_size(sizes: Sequence[int], config: GateConfig) -> Check:
    """Check that the weights are about as large as the champion's.

    Args:
        sizes: Size of the weights of challenger and champion, in bytes.
        config: The largest ratio of the two sizes.
    """
    remark = f"{sizes[0]:,} bytes of weights, the champion {sizes[1]:,}"
    return at_most("size_ratio", sizes[0] / sizes[1], config.max_size_ratio, remark)
