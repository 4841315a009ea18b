"""Tests of the benchmark of a GPU, in a small size on the CPU."""

import math
import os
import subprocess
import sys

import pytest

from tests.support.scripts import BENCHMARKS

RUN = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
sys.argv = ["gpu.py", "--device", "cpu", "--toy"]
runpy.run_path(sys.path[0] + "/gpu.py", run_name="__main__")
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_every_measure_has_a_value_and_needs_few_packages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(BENCHMARKS)],
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    *lines, modules = done.stdout.splitlines()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if "|" in line]
    measured = rows[2:]
    assert len(measured) == 5
    for name, value, _, seconds in measured:
        assert math.isfinite(float(value)) and float(value) >= 0, name
        assert math.isfinite(float(seconds)), name
    goals = [float(goal) for _, _, goal, _ in measured if goal]
    assert goals == [0.5, 1.5, 0.5, 0.8]
    for package in ("ray", "mlflow", "prefect", "pydantic", "boto3", "datasketches"):
        assert repr(package) not in modules


def test_without_a_gpu_the_reason_is_one_line() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py")],
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ("torch finds no GPU; --device cpu --toy checks the script\n")
