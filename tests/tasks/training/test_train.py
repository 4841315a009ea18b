"""Tests of training on Ray. Distributed fits cost seconds, so tests share one."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import batches, prepare
from tasks.runtime import manifest, storage
from tasks.training import driver, train
from tasks.training.checkpoint import EpochMetrics, read_state
from tasks.training.train import TrainResult
from tests.support.training import MODEL, TRAINING, Messages, train_here

FILES = (
    "weights.safetensors",
    "calibration.parquet",
    "model.json",
    "nearness.safetensors",
    "reference.json",
)


def resources(root: Path, **changed: Any) -> Resources:
    """Return resources with which every epoch ends with a checkpoint."""
    given = {"storage": str(root), "checkpoint_seconds": 0.01} | changed
    return Resources(**given)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def prepared(root: Path, ray: None) -> str:
    """Prepare a dataset of 1,000 rows with nulls in two columns."""
    rng = np.random.default_rng(0)
    size = rng.integers(0, 6, 1000)
    price = np.exp(rng.normal(size, 0.3))
    table = pa.table(
        {
            "size": size,
            "shape": np.array(list("abcdef"))[(size + rng.integers(0, 2, 1000)) % 6],
            "price": pa.array(price, mask=size == 0),
            "sold": pa.array(size > 2, mask=rng.random(1000) < 0.1),
        }
    )
    pq.write_table(table, root / "table.parquet")
    data = DataConfig(path=str(root / "table.parquet"))
    made = prepare.prepare(data, str(root / "prepared"), Resources())
    path: str = made.path
    return path


@pytest.fixture(scope="module")
def reported() -> list[EpochMetrics]:
    """Return the list of metrics that the undisturbed training reports."""
    return []


@pytest.fixture(scope="module")
def undisturbed(root: Path, prepared: str, reported: list[EpochMetrics]) -> TrainResult:
    """Return the result of one undisturbed worker."""
    return train.train(
        prepared,
        MODEL,
        TRAINING,
        str(root / "models/{key}"),
        resources(root),
        on_metrics=reported.append,
    )


def curve(history: list[EpochMetrics]) -> list[tuple[float, float]]:
    return [(m["train_nll"], m["valid_nll"]) for m in history]


def contents(result: TrainResult) -> list[bytes]:
    return [(Path(result.path) / name).read_bytes() for name in FILES]


def test_a_model_folder_is_written(
    undisturbed: TrainResult, prepared: str, root: Path
) -> None:
    folder = Path(undisturbed.path)
    written = storage.read_json(str(folder / manifest.MANIFEST))
    density = load_density(folder)
    held_out = pq.read_table(Path(prepared) / "valid")

    assert {path.name for path in folder.iterdir()} == {*FILES, manifest.MANIFEST}
    assert written["job_key"] == undisturbed.key == folder.name
    assert written["fingerprint"] == undisturbed.fingerprint
    assert written["history"] == undisturbed.history
    assert not undisturbed.done
    # What was learned from the data stands there: size tells most, and comes first.
    (sequence,) = written["config"]["model"]["ordering"]
    assert sequence[0] == 0
    assert sorted(sequence) == [0, 1, 2, 3]
    assert density.model.ordering_table.tolist()[0][0] == 0
    # What training calls valid NLL is the network's NLL of the original rows.
    network = replace(density, encoder=density.encoder.without_weights())
    nll = -network.log_prob(held_out).mean()
    assert undisturbed.valid_nll == pytest.approx(nll, abs=1e-4)
    scores = pq.read_table(folder / "calibration.parquet")
    assert scores.num_rows == pq.read_table(Path(prepared) / "calibration").num_rows
    assert not (folder.parent / f"{folder.name}.training").exists()


def test_training_improves_the_valid_nll(undisturbed: TrainResult) -> None:
    history = undisturbed.history

    assert undisturbed.epochs == len(history) == TRAINING.epochs
    assert undisturbed.stopped == "epochs"
    assert undisturbed.valid_nll == min(r["valid_nll"] for r in history)
    assert undisturbed.valid_nll < history[0]["valid_nll"] - 0.1
    assert undisturbed.rows_per_s > 0


def test_each_epoch_is_reported_once(
    undisturbed: TrainResult, reported: list[EpochMetrics]
) -> None:
    assert reported == undisturbed.history


def test_a_finished_job_is_not_done_again(
    undisturbed: TrainResult, prepared: str, root: Path
) -> None:
    heard: list[EpochMetrics] = []
    before = (Path(undisturbed.path) / FILES[0]).stat().st_mtime_ns

    again = train.train(
        prepared,
        MODEL,
        TRAINING,
        undisturbed.path,
        resources(root, workers=2),
        on_metrics=heard.append,
    )

    assert again == replace(undisturbed, done=True)
    assert heard == undisturbed.history
    assert (Path(undisturbed.path) / FILES[0]).stat().st_mtime_ns == before


def training_pids() -> set[int]:
    """Return the ids of the training workers below this process."""
    import psutil  # Ray carries it.

    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.slow
def test_killed_workers_go_on_to_the_same_model(
    undisturbed: TrainResult, prepared: str, root: Path
) -> None:
    output, given = str(root / "killed workers"), resources(root, max_failures=1)
    workers: list[set[int]] = []
    heard: list[EpochMetrics] = []

    def kill_twice(record: EpochMetrics) -> None:
        workers.append(training_pids())
        heard.append(record)
        if record["epoch"] in (2, 4):
            for pid in workers[-1]:
                os.kill(pid, signal.SIGKILL)

    # Ray sees either the actor's death or the health check that it misses, in a race.
    gone = "restarts did not help: worker 0: .*(actor|health)"
    with pytest.raises(RuntimeError, match=gone):
        train.train(prepared, MODEL, TRAINING, output, given, on_metrics=kill_twice)
    result = train.train(prepared, MODEL, TRAINING, output, given)

    assert len(workers[1]) == len(workers[3]) == 1
    assert workers[1].isdisjoint(workers[3])
    # Their seconds tell that epochs were kept; the last before a kill may be lost.
    assert any(kept in result.history for kept in heard)
    assert curve(result.history) == curve(undisturbed.history)
    assert contents(result) == contents(undisturbed)


DRIVER = """
import json
import sys
from tasks.runtime import environment
from tasks.training import train
from tasks.config.model import model_config
from tasks.config.resources import Resources
from tasks.config.train import TrainConfig

prepared, model, training, output, resources = sys.argv[1:]
train.train(
    prepared,
    model_config(**json.loads(model)),
    TrainConfig.model_validate_json(training),
    output,
    Resources.model_validate_json(resources),
)
"""


@pytest.mark.slow
def test_a_killed_driver_goes_on_to_the_same_model(
    undisturbed: TrainResult, prepared: str, root: Path
) -> None:
    import ray

    output, given = root / "killed driver", resources(root)
    driver = subprocess.Popen(
        [
            sys.executable,
            "-c",
            DRIVER,
            prepared,
            MODEL.model_dump_json(),
            TRAINING.model_dump_json(),
            str(output),
            given.model_dump_json(),
        ],
        env=os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address},
    )
    deadline = time.monotonic() + 100
    while not (saved := history_on_disk(root / "killed driver.training")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    assert not (output / manifest.MANIFEST).exists()
    heard: list[EpochMetrics] = []

    result = train.train(
        prepared, MODEL, TRAINING, str(output), given, on_metrics=heard.append
    )

    assert heard == result.history
    # The seconds tell that the first epochs were not done again.
    assert heard[: len(saved)] == saved
    assert curve(result.history) == curve(undisturbed.history)
    assert contents(result) == contents(undisturbed)


def history_on_disk(checkpoints: Path) -> list[EpochMetrics]:
    """Return the history in the last checkpoint, [] if there is none."""
    for path in checkpoints.glob(f"*/{driver.SNAPSHOT}"):
        try:
            latest = json.loads(path.read_text())["latest_checkpoint_result"]
        except json.JSONDecodeError:
            return []  # It is just being written.
        folder = path.parent / latest["checkpoint_dir_name"]
        return read_state(folder).history
    return []


@pytest.mark.slow
def test_two_workers_on_s3_learn_what_one_learns(prepared: str, bucket: str) -> None:
    # Dropout is drawn by each rank, so there is none here. The last batch of an epoch
    # is short, and batches are odd.
    model = MODEL.model_copy(update={"dropout": 0.0})
    training = TRAINING.model_copy(update={"epochs": 4, "batch_size": 99})
    messages = Messages()
    train_here(prepared, model, training, messages)
    filesystem, inner = storage.resolve(f"{bucket}/prepared")
    pafs.copy_files(prepared, inner, destination_filesystem=filesystem)
    given = Resources(workers=2, checkpoint_seconds=0.01)
    heard: list[EpochMetrics] = []

    def fail_once(record: EpochMetrics) -> None:
        heard.append(record)
        if len(heard) == 2:
            raise ConnectionError("no route to the tracking server")

    source, output = f"{bucket}/prepared", f"{bucket}/models/{{key}}"
    with pytest.raises(ConnectionError, match="no route"):
        train.train(source, model, training, output, given, on_metrics=fail_once)
    assert not training_pids()
    result = train.train(source, model, training, output, given)

    assert heard == result.history[:2]
    alone = curve(messages.records())
    np.testing.assert_allclose(curve(result.history), alone, rtol=1e-4)
    assert storage.list_files(result.path) == sorted([*FILES, manifest.MANIFEST])
    assert not storage.exists(f"{result.path}.training")
    assert not batches.cache_folder(result.key).exists()


ELASTIC = """
import json
import os
import sys
import time
from ray.cluster_utils import Cluster
from tasks.runtime import environment
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
other = cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
import logging
from tasks.training import driver, train
from tasks.config.model import model_config
from tasks.config.resources import Resources
from tasks.config.train import TrainConfig

prepared, model, training, output = sys.argv[1:]
nodes, told = [other], []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
driver.logger.addHandler(handler)

def leave_and_join(record):
    if record["epoch"] == 2:
        cluster.remove_node(nodes.pop(), allow_graceful=False)

resources = Resources(
    workers={"min": 1, "max": 2}, cpus_per_worker=1, checkpoint_seconds=0.01
)
result = train.train(
    prepared,
    model_config(**json.loads(model)),
    TrainConfig.model_validate_json(training),
    output,
    resources,
    on_metrics=leave_and_join,
)
print(json.dumps({"told": told, "history": result.history}))
"""


@pytest.mark.slow
def test_elastic_training_goes_on_with_fewer_workers_to_the_same_model(
    prepared: str, root: Path
) -> None:
    model = MODEL.model_copy(update={"dropout": 0.0})
    training = TRAINING.model_copy(update={"batch_size": 99})
    messages = Messages()
    train_here(prepared, model, training, messages)
    output = root / "elastic"
    arguments = [prepared, model.model_dump_json(), training.model_dump_json()]
    done = subprocess.run(
        [sys.executable, "-c", ELASTIC, *arguments, str(output)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=400,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])

    assert "training goes on with 1 worker" in found["told"]
    np.testing.assert_allclose(
        curve(found["history"]), curve(messages.records()), rtol=1e-4
    )


def test_a_dataset_that_was_not_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing: not a finished prepared"):
        train.train(
            str(tmp_path / "nothing"), MODEL, TRAINING, str(tmp_path), Resources()
        )


def test_the_output_of_another_job_is_left_alone(
    undisturbed: TrainResult, prepared: str, root: Path
) -> None:
    other = TRAINING.model_copy(update={"seed": 1})

    with pytest.raises(FileExistsError, match="another job"):
        train.train(prepared, MODEL, other, undisturbed.path, resources(root))
