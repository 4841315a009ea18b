"""Commands that follow each other on a small table, and are killed."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from flows.process import reaper
from tests.support.tables import small_table

ROOT = Path(__file__).parents[2]
"""Directory of the packages."""

COMMANDS = ("retrain", "score", "sample")
"""Names of the commands, in order."""

CHANGING = {
    *("started", "finished", "seconds", "rows_per_s", "history", "run_id"),
    # Footers of parts name the run; their content is compared.
    "sha256",
}
"""Keys of JSON files that differ from run to run."""

LIMIT = 300.0
"""Maximum duration of a command on a busy machine, in seconds."""


class Pipeline:
    """Three commands that follow each other on a small table, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = folder / "storage"
        self.marker = f"KILL_TEST={folder.name}-{os.getpid()}"
        (folder / "data").mkdir(parents=True)
        for part in range(3):
            pq.write_table(
                small_table(1000, seed=part), folder / f"data/part-{part}.parquet"
            )
        content = {
            "name": "small",
            "data": {"path": "data", "id": ["id"]},
            "model": {"hidden": 32, "components": 2},
            "train": {"epochs": 8, "batch_size": 64},
            "score": {"rows_per_fragment": 500},
            "sample": {"rows": 3000, "rows_per_shard": 500},
            "resources": {"storage": "storage", "checkpoint_seconds": 0.5},
        }
        (folder / "small.yaml").write_text(yaml.safe_dump(content))

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own, with further arguments."""
        key, value = self.marker.split("=")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_", "AWS_"))
        }
        with open(self.folder / "output.txt", "ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "flows.cli"),
                    command,
                    "small.yaml",
                    *arguments,
                ],
                cwd=self.folder,
                env=inherited | {key: value, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def complete(self, commands: Sequence[str] = COMMANDS) -> float:
        """Run commands to their end and return the seconds that it took."""
        began = time.monotonic()
        for command in commands:
            code = self.start(command).wait(timeout=LIMIT)
            assert code == 0, (self.folder / "output.txt").read_text()
        return time.monotonic() - began

    def run_until(self, moment: str | float, *, everything: bool) -> bool:
        """Run the commands, kill them at a moment, and return whether it came.

        Args:
            moment: A pattern of files of which a new one appears, or seconds.
            everything: Kill all processes at once, as a power cut does; otherwise the
                command alone.
        """
        before = set(self.storage.glob(moment)) if isinstance(moment, str) else set()
        began = time.monotonic()
        for command in COMMANDS:
            process = self.start(command)
            while process.poll() is None:
                seconds = time.monotonic() - began
                assert seconds < LIMIT * len(COMMANDS)
                if isinstance(moment, str):
                    come = bool(set(self.storage.glob(moment)) - before)
                else:
                    come = seconds > moment
                if come:
                    self.kill(process, everything)
                    return True
                time.sleep(0.005)
        return False

    def kill(self, process: subprocess.Popen[bytes], everything: bool) -> None:
        """Kill a command with SIGKILL and wait until none of its processes is left."""
        reaper.send_signal(
            self.alive() if everything else {process.pid}, signal.SIGKILL
        )
        process.wait(timeout=10)
        deadline = time.monotonic() + 30
        while left := self.alive():
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.1)

    def alive(self) -> set[int]:
        """Return the ids of all processes that commands have started."""
        variable, value = self.marker.split("=")
        return reaper.marked_processes(value, variable)

    def artifacts(self) -> dict[str, Any]:
        """Return all results by relative path, without times and absolute paths."""
        result = {}
        for path in sorted((self.storage / "small").rglob("*")):
            name = str(path.relative_to(self.storage))
            if path.suffix == ".json":
                text = path.read_text().replace(str(self.folder), "FOLDER")
                result[name] = self.without_times(json.loads(text))
            elif path.suffix == ".parquet":
                # The footer names the MLflow run.
                result[name] = pq.read_table(path).replace_schema_metadata().to_pylist()
            elif path.is_file() and path.suffix not in (".html", ".png"):
                result[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return result

    def without_times(self, value: Any) -> Any:
        """Return a JSON value without keys that differ from run to run."""
        if isinstance(value, dict):
            return {
                key: self.without_times(each)
                for key, each in value.items()
                if key not in CHANGING
            }
        if isinstance(value, list):
            return [self.without_times(each) for each in value]
        return value

    def versions(self) -> list[tuple[int]]:
        """Return the registered versions."""
        with sqlite3.connect(self.storage / "mlflow.db") as database:
            return database.execute("select version from model_versions").fetchall()
