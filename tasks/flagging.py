"""What only all scored rows together say: q-values, and which rows a budget takes.

Both follow from the p-values and anomaly scores that stand in the parts of a job, in a
memory that does not depend on the number of rows: p-values are counted, and a budget's
last anomaly score is found digit by digit.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ar_models.ranking import Counts, Floats, Integers, Rule, flags
from tasks import storage

READERS = 4
"""Parts that are looked at together."""

DIGIT = 16
"""Bits of a score that are found in one reading of the parts."""

Words = NDArray[np.uint64]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Cut:
    """Which rows a budget takes: those before it, in the order of strangeness.

    Attributes:
        p_value: Rows with a smaller one are taken.
        score: Of those with this p-value, rows with a higher bit pattern of the anomaly
            score are, …
        quotas: … and so many of those with this one, in each part the first.
    """

    p_value: float
    score: int
    quotas: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """What pass over all parts found: enough to complete each of them by itself.

    Attributes:
        rule: Which rows are anomalies.
        counts: All p-values; None if there are none.
        cut: Of a budget, else None.
    """

    rule: Rule
    counts: Counts | None
    cut: Cut | None

    def q_value(self, table: pa.Table) -> Floats | None:
        """The q-values of a part's rows, (n,)."""
        if self.counts is None:
            return None
        return self.counts.q_value(table["p_value"].to_numpy())

    def flags(self, table: pa.Table, part: int) -> NDArray[np.bool_] | None:
        """Which rows of part number `part` are anomalies, (n,); None: unknown."""
        scores = table["anomaly_score"].to_numpy()
        if self.cut is not None:
            p_value = p_values(table)
            words = ascending(scores)
            tied = p_value == self.cut.p_value
            last = tied & (words == np.uint64(self.cut.score))
            within = np.cumsum(last) <= self.cut.quotas[part]
            first = (p_value < self.cut.p_value) | (
                tied & (words > np.uint64(self.cut.score))
            )
            return np.asarray(first | (last & within))
        if self.counts is None:
            return None
        ranked = {
            "q_value": self.counts.q_value(table["p_value"].to_numpy()),
            "severity": table["severity"].to_numpy(),
        }
        return flags(self.rule, scores, ranked)


def survey(paths: Sequence[str], rule: Rule, calibrated: bool) -> Verdict:
    """Looks at the p-values of all parts, and for a budget at their anomaly scores.

    Args:
        paths: The parts of a job, in order, each with p_value and anomaly_score.
        rule: Which rows are anomalies.
        calibrated: Whether there are p-values.
    """
    if not calibrated and rule.kind != "budget":
        return Verdict(rule, None, None)
    counts = Counts(np.empty(0), np.empty(0, np.int64))
    for found in each(paths, lambda table: Counts.of(p_values(table))):
        counts = counts.merge(found)
    cut = find_cut(paths, rule, counts) if rule.kind == "budget" else None
    return Verdict(rule, counts if calibrated else None, cut)


def find_cut(paths: Sequence[str], rule: Rule, counts: Counts) -> Cut:
    """Where a budget ends."""
    wanted = rule.count(int(counts.counts.sum()))
    if wanted == 0:
        return Cut(-1.0, 0, (0,) * len(paths))
    reached = np.cumsum(counts.counts)
    last = int(np.searchsorted(reached, wanted))
    p_value = float(counts.values[last])
    left = wanted - int(reached[last] - counts.counts[last])
    prefix = 0
    for shift in range(64 - DIGIT, -1, -DIGIT):

        def count(
            table: pa.Table, shift: int = shift, prefix: int = prefix
        ) -> Integers:
            words = ascending(table["anomaly_score"].to_numpy())
            words = words[p_values(table) == p_value]
            if shift + DIGIT < 64:
                words = words[words >> np.uint64(shift + DIGIT) == np.uint64(prefix)]
            digits = words >> np.uint64(shift) & np.uint64((1 << DIGIT) - 1)
            return np.bincount(digits.astype(np.int64), minlength=1 << DIGIT)

        total = np.zeros(1 << DIGIT, np.int64)
        for found in each(paths, count):
            total += found
        above = np.cumsum(total[::-1])[::-1] - total
        digit = int(np.flatnonzero(above < left)[0])
        left -= int(above[digit])
        prefix = prefix << DIGIT | digit
    quotas = []
    for found in each(
        paths,
        lambda table: np.sum(
            (p_values(table) == p_value)
            & (ascending(table["anomaly_score"].to_numpy()) == np.uint64(prefix))
        ),
    ):
        quotas.append(min(left, int(found)))
        left -= quotas[-1]
    return Cut(p_value, prefix, tuple(quotas))


def ascending(values: Floats) -> Words:
    """Whole numbers in the same order as `values`, zeros of both signs equal."""
    bits = (values + 0.0).view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def p_values(table: pa.Table) -> Floats:
    """The p-values of scored rows; where there are none, all are alike."""
    found = table["p_value"]
    if found.null_count:
        return np.ones(len(found))
    return np.asarray(found.to_numpy())


def each(paths: Sequence[str], look: Callable[[pa.Table], Result]) -> Iterator[Result]:
    """What `look` says about p_value and anomaly_score of each part, in order."""

    def read(path: str) -> Result:
        filesystem, inner = storage.resolve(path)
        with filesystem.open_input_file(inner) as file:
            columns = ["anomaly_score", "p_value"]
            return look(pq.ParquetFile(file).read(columns, use_threads=False))

    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), READERS):
            yield from pool.map(read, paths[start : start + READERS])
