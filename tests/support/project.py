"""A small project: data, a configuration, and commands that run in this process."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner, Result

from flows.cli import main
from tests.support.tables import small_table


def run_command(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main.app, arguments)


def on_one_line(text: str) -> str:
    """Return a message without its line breaks."""
    return " ".join(text.split())


class Project:
    """A configuration in a folder of its own, and the commands to run with it.

    Attributes:
        data: Folder of the dataset.
        storage: Root of all results.
        file: Configuration file.
        content: Content of the configuration file.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.storage = folder / "storage"
        self.file = folder / "small.yaml"
        self.data.mkdir()
        self.write(small_table(), "part-0.parquet")
        self.content: dict[str, Any] = {
            "name": "small",
            "data": {"path": str(self.data), "id": ["id"]},
            "model": {"hidden": 16, "layers": 1, "components": 2},
            "train": {"epochs": 6, "batch_size": 128},
            "evaluate": {"resamples": 100},
            "score": {"rows_per_fragment": 400},
            "gate": {"load_check": "none"},
            "monitor": {"max_ks": 0.2, "max_psi": None},
            "sample": {"rows": 500, "rows_per_shard": 200},
            "resources": {"storage": str(self.storage)},
        }
        self.file.write_text(yaml.safe_dump(self.content))

    def write(self, table: pa.Table, name: str) -> None:
        """Write a table to a file of the dataset."""
        pq.write_table(table, self.data / name)

    def run(self, command: str, *arguments: str) -> Result:
        """Run a command with the configuration."""
        return run_command(command, str(self.file), *arguments)

    def json(self, command: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a command that ends with an exit code; return its JSON."""
        ended = self.run(command, *arguments, "--json")
        assert ended.exit_code == code, ended.output
        content: dict[str, Any] = json.loads(ended.stdout)
        return content

    def files(self) -> dict[str, int]:
        """Return the times of change of all files of results."""
        return {
            str(path.relative_to(self.storage)): path.stat().st_mtime_ns
            for path in sorted((self.storage / "small").rglob("*"))
            if path.is_file()
        }
