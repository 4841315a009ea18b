"""A registered version in the hands of others, in minutes: `make check-consumer`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from tasks.config.gate import GateConfig
from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference import score
from tasks.inference.source import Source
from tasks.registry import isolated_load
from tasks.registry.gate import load_check
from tasks.runtime import storage
from tests.support.model_pair import ModelPair, register_and_gate
from tests.support.ports import free_port

pytestmark = pytest.mark.consumer

URI = "models:/served/1"

ENVIRONMENT = os.environ | {
    # MLflow starts a server, and Spark its workers, by names on the path.
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYSPARK_PYTHON": sys.executable,
}

PATIENCE = 300.0
"""Seconds that a server, a batch job or Spark may take on a busy machine."""

NAMES = ("log_prob", "anomaly_score", "p_value", "severity")


@pytest.fixture(scope="module")
def version(pair: ModelPair) -> dict[str, Any]:
    return register_and_gate(pair, "served", "strong")


@pytest.fixture(scope="module")
def rows(pair: ModelPair) -> pa.Table:
    return pq.read_table(f"{pair.prepared}/test").slice(0, 300)


@pytest.fixture
def flow(
    pair: ModelPair, rows: pa.Table, tmp_path: Path, in_process: None
) -> pd.DataFrame:
    """Return the rows as `score` writes them."""
    pq.write_table(rows, tmp_path / "rows.parquet")
    found = score.score(
        pair.models["strong"],
        Source(str(tmp_path / "rows.parquet")),
        str(tmp_path / "scored"),
        ScoreConfig(explain="all"),
        Resources(),
    )
    return pq.read_table(found.path).to_pandas()


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(found) == len(expected)
    for name in NAMES:
        np.testing.assert_allclose(
            found[name].astype(float), expected[name], atol=1e-5, err_msg=name
        )
    assert list(found["is_anomaly"]) == list(expected["is_anomaly"])


@pytest.fixture(scope="module")
def clean_python(
    version: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """Install the requirements of a version; return the Python and the version."""
    home = tmp_path_factory.mktemp("clean")
    model = mlflow.artifacts.download_artifacts(URI, dst_path=str(home / "model"))
    return isolated_load.fresh_environment(home, Path(model)), model


def test_a_version_needs_only_what_it_pins(
    clean_python: tuple[str, str], rows: pa.Table, flow: pd.DataFrame, tmp_path: Path
) -> None:
    python, model = clean_python
    listed = [python, "-m", "pip", "list", "--format", "freeze"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    assert not {"ray", "prefect", "chainrule"} & {
        line.partition("==")[0] for line in names.split()
    }
    pq.write_table(rows, tmp_path / "rows.parquet")
    program = [python, "-I", isolated_load.isolated_main.__file__, model]
    files = [str(tmp_path / name) for name in ("rows.parquet", "found.parquet")]
    for params in ({"output": "sample", "rows": 7}, {"output": "score"}):
        isolated_load.run([*program, *files, "--params", json.dumps(params)], tmp_path)
        found = pd.read_parquet(files[1])
        assert len(found) == params.get("rows", len(rows))
    same(found, flow)


def test_the_gate_asks_for_a_clean_environment(
    version: dict[str, Any], pair: ModelPair
) -> None:
    density = load_density(Path(pair.models["strong"]))
    about = storage.read_json(f"{pair.prepared}/_manifest.json")
    (check,) = load_check.check_loads(
        density, URI, pair.prepared, about, GateConfig(load_check="clean")
    )
    assert check.passed, check.remark
    assert "a fresh environment with the logged requirements only" in check.remark


@pytest.fixture(scope="module")
def server(
    version: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the address of `mlflow models serve`."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI]
    options = ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with open(log, "w") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=ENVIRONMENT | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: answers(f"{address}/ping", process), log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        with urllib.request.urlopen(address, timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def wait(until: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def ask(server: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{server}/invocations",
        json.dumps(payload).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        found: list[dict[str, Any]] = json.load(reply)["predictions"]
    return found


@pytest.mark.parametrize("orient", ["split", "records"])
def test_a_server_gives_the_numbers_of_the_flow(
    server: str, rows: pa.Table, flow: pd.DataFrame, orient: str
) -> None:
    frame = rows.to_pandas()
    data = json.loads(frame.to_json(orient=orient, date_format="iso"))
    found = pd.DataFrame(ask(server, {f"dataframe_{orient}": data}))
    same(found, flow)
    for row, reasons in enumerate(flow["explanation"]):
        told = found["explanation"][row]
        assert [r["column"] for r in told] == [r["column"] for r in reasons]


def test_a_server_takes_params(server: str, rows: pa.Table) -> None:
    columns = {"columns": rows.column_names[1:], "data": []}
    params = {"output": "sample", "rows": 20, "seed": 3}
    drawn = ask(server, {"dataframe_split": columns, "params": params})
    assert len(drawn) == 20
    assert {row["kind <b>"] for row in drawn} <= {"x", "y", "z & more"}


def test_mlflow_predict_gives_the_numbers_of_the_flow(
    version: dict[str, Any], rows: pa.Table, flow: pd.DataFrame, tmp_path: Path
) -> None:
    frame = rows.to_pandas()
    mlflow.models.predict(
        URI,
        input_data=frame,
        content_type="json",
        output_path=str(tmp_path / "found.json"),
        env_manager="local",
    )
    found = json.loads((tmp_path / "found.json").read_text())["predictions"]
    same(pd.DataFrame(found), flow)


SPARK = """
import sys
import mlflow
from pyspark.sql import SparkSession
from pyspark.sql.functions import struct

uri, rows, found = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
frame = spark.read.parquet(rows)
predict = mlflow.pyfunc.spark_udf(spark, uri, env_manager="local")
columns = [c for c in frame.columns if c != "id"]
scored = frame.select("id", predict(struct(*columns)).alias("found"))
scored.select("id", "found.*").write.parquet(found)
"""


def test_a_batch_job_of_spark_gives_the_numbers_of_the_flow(
    version: dict[str, Any], rows: pa.Table, flow: pd.DataFrame, tmp_path: Path
) -> None:
    # Spark reads moments to the microsecond.
    pq.write_table(rows, tmp_path / "rows.parquet", coerce_timestamps="us")
    program = tmp_path / "job.py"
    program.write_text(SPARK)
    files = [str(tmp_path / name) for name in ("rows.parquet", "found")]
    ended = subprocess.run(
        [sys.executable, str(program), URI, *files],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
    )
    assert ended.returncode == 0, ended.stderr[-5000:]
    found = pd.read_parquet(tmp_path / "found")
    same(found, flow)
    assert list(found["id"]) == rows["id"].to_pylist()
    told = [r["column"] for r in found["explanation"][0]]
    assert told == [r["column"] for r in flow["explanation"][0]]


MILLION = """
import json
import resource
import sys

import mlflow
import pandas as pd

uri, rows = sys.argv[1:]
few = pd.read_parquet(rows)
frame = pd.concat([few] * (1_000_000 // len(few) + 1), ignore_index=True)[:1_000_000]
model = mlflow.pyfunc.load_model(uri)
found = {}
for output in ("few", "log_prob", "score"):
    given, params = frame, {"output": output, "explain": "flagged"}
    if output == "few":
        given, params = frame[:10_000], {"output": "score"}
    assert len(model.predict(given, params=params)) == len(given)
    found[output] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(found))
"""


def test_a_million_rows_take_a_bounded_memory(
    version: dict[str, Any], rows: pa.Table, tmp_path: Path
) -> None:
    pq.write_table(rows, tmp_path / "rows.parquet")
    ended = subprocess.run(
        [sys.executable, "-c", MILLION, URI, str(tmp_path / "rows.parquet")],
        capture_output=True,
        text=True,
        timeout=900,
        env=ENVIRONMENT | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
    )
    assert ended.returncode == 0, ended.stderr[-5000:]
    peaks = json.loads(ended.stdout.splitlines()[-1])
    # MiB more than for 10,000 rows: one number a row, and all columns.
    assert peaks["log_prob"] - peaks["few"] < 300, peaks
    assert peaks["score"] - peaks["few"] < 1500, peaks
