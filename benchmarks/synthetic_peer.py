"""The peer's part of `synthetic.py`, run by the interpreter of its own environment."""

import argparse
import json
import os
import resource
from pathlib import Path

import pandas as pd
import torch
from mostlyai.engine import TabularARGN


def clock() -> float:
    """Seconds that the processor spent on this process and its children."""
    return sum(os.times()[:4])


def main() -> None:
    """Learns, draws, completes, fills and scores; writes what it measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = arguments.work
    tables = {
        name: pd.read_parquet(work / f"{name}.parquet")
        for name in ("train", "test", "given", "holes")
    }
    model = TabularARGN(
        max_training_time=arguments.seconds / 60, random_state=0, device="cpu"
    )
    began = clock()
    model.fit(tables["train"])
    facts = {"fit_s": clock() - began}
    jobs = {
        "sample": (arguments.rows, lambda: model.sample(n_samples=arguments.rows)),
        "given": (
            len(tables["given"]),
            lambda: model.sample(seed_data=tables["given"]),
        ),
        "impute": (len(tables["holes"]), lambda: model.impute(tables["holes"])),
        "log_prob": (
            len(tables["test"]),
            lambda: pd.DataFrame({"log_prob": model.log_prob(tables["test"])}),
        ),
    }
    for job, (rows, work_on) in jobs.items():
        began = clock()
        table = work_on()
        facts[f"{job}_rows_per_s"] = rows / (clock() - began)
        table.to_parquet(work / "argn" / f"{job}.parquet")
        if job == "sample":
            own = table.head(10_000)
    facts["own_log_prob"] = float(model.log_prob(own).mean())
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (work / "argn" / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
