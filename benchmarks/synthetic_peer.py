"""Run the peer of `synthetic.py` by the Python of the peer's own environment."""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def clock() -> float:
    """Return the CPU seconds of this process and its children."""
    return sum(os.times()[:4])


def run_jobs(
    jobs: Mapping[str, tuple[int, Callable[[], Any]]],
    folder: Path,
    write: Callable[[Any, Path], object],
) -> dict[str, float]:
    """Run jobs, write their tables, and return rates and the peak memory.

    A job that raises a ValueError is left out.

    Args:
        jobs: Number of rows and function of each job by name.
        folder: Directory for the tables.
        write: Writes a table to a Parquet file.
    """
    facts = {}
    for name, (rows, work) in jobs.items():
        began = clock()
        try:
            table = work()
        except ValueError as error:
            print(f"{folder.name}: {name}: {error}", file=sys.stderr)
            continue
        facts[f"{name}_rows_per_s"] = rows / (clock() - began)
        write(table, folder / f"{name}.parquet")
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return facts


def main() -> None:
    """Learn, draw, complete, impute and score, and write the measurements."""
    import pandas as pd
    import torch
    from mostlyai.engine import TabularARGN

    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = arguments.work
    train, test, given, holes = (
        pd.read_parquet(work / f"{name}.parquet")
        for name in ("train", "test", "given", "holes")
    )
    model = TabularARGN(
        max_training_time=arguments.seconds / 60, random_state=0, device="cpu"
    )
    began = clock()
    model.fit(train)
    facts = {"fit_s": clock() - began}
    jobs = {
        "sample": (arguments.rows, lambda: model.sample(n_samples=arguments.rows)),
        "given": (len(given), lambda: model.sample(seed_data=given)),
        "impute": (len(holes), lambda: model.impute(holes)),
        "log_prob": (
            len(test),
            lambda: pd.DataFrame({"log_prob": model.log_prob(test)}),
        ),
    }
    facts |= run_jobs(jobs, work / "argn", pd.DataFrame.to_parquet)
    own = pd.read_parquet(work / "argn" / "sample.parquet").head(10_000)
    facts["own_log_prob"] = float(model.log_prob(own).mean())
    (work / "argn" / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
