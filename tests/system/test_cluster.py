"""Tests of a Ray cluster on hosts that share only an S3 server: `make check-cluster`.

They run in order on one cluster. Hosts are killed, cut off and replaced; each time the
results have to be those of one machine.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.torch import load

from ar_models.density.saved_form import WEIGHTS_FILE
from tasks.runtime import storage
from tests.support import hosts
from tests.support.cluster_stack import ClusterStack, Command, running_cluster
from tests.support.servers import LIMIT, until
from tests.support.tables import small_table

REASON = hosts.reason_not_to()

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

FILES, ROWS = 4, 500
"""Number of files of the dataset, and rows of each."""

STORAGE = "s3://chainrule"

COMMANDS = ("retrain", "score", "sample", "impute")


PARTITION_SECONDS = 30.0
"""Time that a host is cut off."""

RESTART_SECONDS = 15.0
"""Time without an S3 server."""


@pytest.fixture(scope="module")
def stack() -> Iterator[ClusterStack]:
    with running_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        # For reading the storage in this process.
        for name, value in cluster.environment.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        cluster.join("two")
        for number in range(FILES):
            table = small_table(ROWS, seed=number)
            path = f"data/small/part-{number}.parquet"
            pq.write_table(table, path, filesystem=cluster.s3)
        yield cluster


def configure(stack: ClusterStack, name: str, **changes: Any) -> str:
    """Write a configuration to the host of commands and return its path there."""
    content: dict[str, Any] = {
        "name": name,
        "data": {"path": "s3://data/small", "id": ["id"]},
        "model": {"family": "made", "hidden": 32, "layers": 1, "components": 2},
        "train": {"epochs": 40, "patience": 40, "batch_size": 64},
        "evaluate": {"resamples": 100},
        "gate": {"min_rows": 50},
        "score": {"rows_per_fragment": 50},
        "sample": {"rows": 1000, "rows_per_shard": 100},
        "impute": {"rows_per_fragment": 100},
        "resources": {"workers": 2, "cpus_per_worker": 1, "checkpoint_seconds": 0.5},
    }
    for section, keys in changes.items():
        content[section] = {**content[section], **keys}
    stack.write("driver", f"{name}.yaml", yaml.safe_dump(content))
    return f"{name}.yaml"


Tables = dict[str, Any]  # see outcome


def outcome(stack: ClusterStack, path: str, **how: Any) -> Tables:
    """Run all commands on the driver's host and return what they made.

    Returns:
        `weights`, the parameters of the model, and the rows of `score`, `sample` and
        `impute`.
    """
    done = {
        command: stack.begin_command("driver", command, path, **how).result()
        for command in COMMANDS
    }
    model = done["retrain"]["train"]["path"]
    tables = {name: rows(stack, done[name][name]["path"]) for name in COMMANDS[1:]}
    return {"weights": weights(stack, model), **tables}


def seen(stack: ClusterStack, path: str) -> str:
    """Return the path, seen from here, of a file of the driver's host or of S3."""
    if "://" in path:
        return path
    return str(stack.host("driver").folder / Path(path).relative_to("/tmp"))


def weights(stack: ClusterStack, model: str) -> dict[str, Any]:
    """Return the parameters of a model by name, as nested lists."""
    filesystem, inner = storage.resolve(seen(stack, model))
    content = filesystem.open_input_file(f"{inner}/{WEIGHTS_FILE}").read()
    return {name: value.tolist() for name, value in load(content).items()}


def rows(stack: ClusterStack, path: str) -> list[dict[str, Any]]:
    """Return the rows of all parts of a result, in the order of the parts."""
    folder = seen(stack, path)
    names = [name for name in storage.list_files(folder) if name.endswith(".parquet")]
    filesystem, inner = storage.resolve(folder)
    tables = [pq.read_table(f"{inner}/{name}", filesystem=filesystem) for name in names]
    return [row for table in tables for row in table.to_pylist()]


def until_made(command: Command, folder: str, part: str) -> None:
    """Wait until a command has made a file whose path contains some text.

    Args:
        command: The command.
        folder: A directory in S3 above the file.
        part: The text.
    """

    def made() -> bool:
        assert command.is_running(), command.log.read_text()[-5000:]
        return any(part in f"/{each}" for each in storage.file_sizes(folder))

    assert until(made, LIMIT)


@pytest.fixture(scope="module")
def alone(stack: ClusterStack) -> Tables:
    """Run all commands on one machine, with a Ray and a storage of its own."""
    path = configure(stack, "alone")
    own = {"RAY_ADDRESS": "", "CHAINRULE_STORAGE": "/tmp/work/storage"}
    return outcome(stack, path, environment=own)


def test_hosts_without_shared_files_give_what_one_machine_gives(
    stack: ClusterStack, alone: Tables
) -> None:
    assert outcome(stack, configure(stack, "together")) == alone


def test_a_host_that_dies_while_it_scores_costs_its_fragments_only(
    stack: ClusterStack, alone: Tables
) -> None:
    path = configure(stack, "alone", score={"output": "s3://data/after-death"})
    command = stack.begin_command("driver", "score", path)
    until_made(command, "s3://data/after-death", "part-00006")
    stack.kill("two")
    assert rows(stack, command.result()["score"]["path"]) == alone["score"]
    assert "others make its parts" in command.log.read_text()


def test_training_goes_on_with_a_host_that_replaces_a_dead_one(
    stack: ClusterStack, alone: Tables
) -> None:
    stack.join("two")
    path = configure(stack, "replaced")
    command = stack.begin_command("driver", "retrain", path)
    until_made(command, f"{STORAGE}/replaced", "/checkpoint_")
    stack.kill("two")
    assert command.is_running()
    stack.join("three")
    assert weights(stack, command.result()["train"]["path"]) == alone["weights"]


def test_a_host_that_is_cut_off_for_half_a_minute_delays_the_scores(
    stack: ClusterStack, alone: Tables
) -> None:
    path = configure(stack, "alone", score={"output": "s3://data/after-cut"})
    command = stack.begin_command("driver", "score", path)
    until_made(command, "s3://data/after-cut", "part-00006")
    stack.network.hosts["one"].plug(False)
    time.sleep(PARTITION_SECONDS)
    stack.network.hosts["one"].plug(True)
    assert rows(stack, command.result()["score"]["path"]) == alone["score"]


def test_jobs_outlive_a_restart_of_s3(stack: ClusterStack, alone: Tables) -> None:
    path = configure(stack, "alone", sample={"output": "s3://data/restarted"})
    command = stack.begin_command("driver", "sample", path)
    until_made(command, "s3://data/restarted", "part-")
    stack.end_server("s3")
    time.sleep(RESTART_SECONDS)
    stack.start_entrance()
    assert rows(stack, command.result()["sample"]["path"]) == alone["sample"]
