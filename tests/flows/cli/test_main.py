"""The command line: help, keys, flags, bad usage. Whole runs are in test_flows."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.core
import yaml
from typer.main import get_command
from typer.testing import CliRunner, Result

from flows.cli import main
from tasks.config.load import load
from tasks.config.root import Config

COMMANDS: dict[str, typer.core.TyperCommand] = get_command(main.app).commands  # type: ignore[attr-defined]  # a group


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("name: a\ndata: {path: nowhere}\n")
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"chainrule {name} " in result.output
    for parameter in COMMANDS[name].params:
        description = getattr(parameter, "help", None)
        assert description, parameter.name
        assert description[0].isupper() and description.endswith("."), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example_that_parses(name: str) -> None:
    example = re.fullmatch(r"\*\*Example:\*\* `(.*)`", COMMANDS[name].epilog or "")
    assert example is not None
    program, command, *arguments = shlex.split(example[1].partition(" > ")[0])
    assert (program, command) == ("chainrule", name)
    assert COMMANDS[name].make_context(name, arguments).params


def test_help_is_there_at_once() -> None:
    began = time.monotonic()
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, flows.cli.main; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"torch", "ray", "mlflow", "prefect", "pyarrow", "pandas", "numpy"}
    assert heavy.isdisjoint(loaded)
    # Typically 0.3 s; the bound only catches an import that crept in.
    assert time.monotonic() - began < 5


SLOW = {"torch", "ray", "mlflow", "prefect", "sklearn", "matplotlib", "numba"}
"""Packages whose import takes most of a second or more."""


def imported(*arguments: str, code: int = 0) -> set[str]:
    """Run a command in a process of its own; return the slow packages it imported."""
    program = (
        "import sys\n"
        "from flows.cli import main\n"
        "try:\n"
        "    main.app(sys.argv[1:])\n"
        "finally:\n"
        "    print('modules', *sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert ended.returncode == code, ended.stderr
    return SLOW & set(ended.stdout.rpartition("modules ")[2].split())


def test_init_imports_none_of_the_slow_packages(tmp_path: Path) -> None:
    table = pa.table(
        {"a": [1, 2, 3] * 9, "b": [0.5, 1.5, 2.5] * 9, "c": list("xyz") * 9}
    )
    pq.write_table(table, tmp_path / "data.parquet")
    assert imported("init", str(tmp_path / "data.parquet")) == set()


@pytest.mark.parametrize("command", ["retrain", "score", "evaluate", "deploy"])
def test_an_error_of_the_configuration_needs_none_of_the_slow_packages(
    file: Path, command: str
) -> None:
    file.write_text("name: a\ndata: {path: p, x: 1}")
    assert imported(command, str(file), code=2) == set()


def test_flows_are_imported_without_their_steps() -> None:
    program = "import sys, flows.process.runs; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert SLOW & set(loaded.stdout.split()) == {"prefect"}


def test_every_key_is_shown_with_its_default(tmp_path: Path) -> None:
    result = call("--help-config")
    assert result.exit_code == 0
    path = tmp_path / "all.yaml"
    path.write_text(result.stdout)
    given = Config.model_validate({"name": "REQUIRED", "data": {"path": "REQUIRED"}})
    assert load(path) == given


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: a\ndata: {path: p}\nmodle: {}", ["modle: unknown key"]),
        ("name: a\ndata: {path: p, idd: [x]}", ["data.idd: unknown key"]),
        ("name: a\ndata: {}", ["data.path: is required"]),
        ("name: a b\ndata: {path: p}", ["name: ", "A-Za-z", "got 'a b'"]),
        ("name: a\ndata: {path: p, split: {by: time}}", ["data.split: by: time needs"]),
        (
            "name: a\ndata: {path: p, split: {valid: 0.5, test: 0.5}}",
            ["data.split: ", "must add up to less"],
        ),
        ("name: a\ndata: {path: p}\ntrain: {epochs: 0}", ["train.epochs", "got 0"]),
        ("name: a\ndata: {path: p}\nscore: {threshold: 100}", ["threshold", "less"]),
        (
            "name: a\ndata: {path: p}\nschedules: {retrain: {timezone: UTC}}",
            ["schedules.retrain: exactly one of cron, interval and rrule is required"],
        ),
        (
            "name: a\ndata: {path: p}\n"
            "schedules: {retrain: {cron: 0 3 * * *, timezone: Mars}}",
            ["schedules.retrain: timezone: unknown time zone 'Mars'"],
        ),
        (
            "name: a\ndata: {path: p}\nschedules: {retrain_after_drift: 3}",
            ["retrain_after_drift needs the schedules monitor and retrain"],
        ),
        ("name: [", ["not valid YAML"]),
        ("- a", ["should be a mapping with the keys name and data"]),
        ("", ["should be a mapping with the keys name and data"]),
    ],
)
def test_a_bad_configuration_is_code_2_and_names_file_and_key(
    file: Path, content: str, said: list[str]
) -> None:
    file.write_text(content)
    for command in ("retrain", "score"):
        result = call(command, str(file))
        assert result.exit_code == 2
        for words in [str(file), *said]:
            assert words in result.stderr
        assert "Traceback" not in result.output


def test_a_missing_configuration_is_code_2(tmp_path: Path) -> None:
    result = call("retrain", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert f"{tmp_path}/none.yaml: no such file" in result.stderr.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.epochs"], "--set must be KEY=VALUE"),
        (["--set", "train.epochs=x"], "train.epochs: input should be 'auto'"),
        (["--set", "name.x=1"], "name is not a section"),
        (["--set", "nothing=1"], "nothing: unknown key"),
    ],
)
def test_a_bad_override_is_code_2(file: Path, arguments: list[str], said: str) -> None:
    result = call("retrain", str(file), *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--workers", "0"], []])
def test_bad_usage_is_code_2(arguments: list[str]) -> None:
    assert call("retrain", *arguments).exit_code == 2


def test_errors_are_json_where_results_are(file: Path) -> None:
    file.write_text("name: a\ndata: {path: p, x: 1}")
    result = call("retrain", str(file), "--json")
    content = json.loads(result.stdout)
    assert content["status"] == "failed"
    assert "data.x: unknown key" in content["error"]


def test_examples_are_valid() -> None:
    examples = sorted(Path(__file__).parents[3].glob("examples/*.yaml"))
    assert len(examples) >= 5
    for example in examples:
        assert yaml.safe_load(example.read_text())["name"] == example.stem
        load(example)
