"""The command line: help, keys, flags, bad usage. Whole runs are in test_flows."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from flows import cli, keys
from tasks.config import Config, load

COMMANDS = (
    "init retrain prepare train evaluate compare score monitor sample embed".split()
)

OTHERS = [
    *("status", "ui", "demo", "promote", "rollback"),
    *("backfill", "deploy", "undeploy", "replay", "export"),
]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("name: a\ndata: {path: nowhere}\n")
    return path


@pytest.mark.parametrize("command", [*COMMANDS, *OTHERS])
def test_every_command_explains_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Usage: chainrule" in result.output.replace("root", "chainrule")


def test_help_is_there_at_once() -> None:
    began = time.monotonic()
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, flows.cli; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"torch", "ray", "mlflow", "prefect", "pyarrow", "pandas", "numpy"}
    assert heavy.isdisjoint(loaded)
    # Typically 0.3 s; the bound only catches an import that crept in.
    assert time.monotonic() - began < 5


def test_every_key_is_shown_with_its_default(tmp_path: Path) -> None:
    result = call("--help-config")
    assert result.exit_code == 0
    path = tmp_path / "all.yaml"
    path.write_text(result.stdout)
    given = Config.model_validate({"name": "REQUIRED", "data": {"path": "REQUIRED"}})
    assert load(path) == given


def test_keys_are_described() -> None:
    text = keys.reference()
    assert "epochs: 30  # integer > 0" in text
    assert "max_seconds: null  # number > 0 or null" in text
    assert 'by: "hash"  # hash | time' in text


def test_flags_win_over_set_and_set_over_the_file(file: Path) -> None:
    changes = ["train.epochs=7", "data.path=elsewhere", "data.id=[a, b]"]
    given = {"data.path": "here", "resources.storage": None}
    config = load(file, cli.overrides(given, changes))
    assert config.train.epochs == 7
    assert config.data.path == "here"
    assert config.data.id == ("a", "b")
    assert config.resources.storage == ".chainrule"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: a\ndata: {path: p}\nmodle: {}", ["modle: no such key"]),
        ("name: a\ndata: {path: p, idd: [x]}", ["data.idd: no such key"]),
        ("name: a\ndata: {}", ["data.path: is required"]),
        ("name: a b\ndata: {path: p}", ["name: ", "A-Za-z", "got 'a b'"]),
        ("name: a\ndata: {path: p, split: {by: time}}", ["data.split: by: time needs"]),
        (
            "name: a\ndata: {path: p, split: {valid: 0.5, test: 0.5}}",
            ["data.split: ", "nothing for training"],
        ),
        ("name: a\ndata: {path: p}\ntrain: {epochs: 0}", ["train.epochs", "got 0"]),
        ("name: a\ndata: {path: p}\nscore: {threshold: 100}", ["threshold", "less"]),
        (
            "name: a\ndata: {path: p}\nschedules: {retrain: {timezone: UTC}}",
            ["schedules.retrain: one of cron, interval and rrule is needed"],
        ),
        (
            "name: a\ndata: {path: p}\n"
            "schedules: {retrain: {cron: 0 3 * * *, timezone: Mars}}",
            ["schedules.retrain: timezone: 'Mars' is not known"],
        ),
        (
            "name: a\ndata: {path: p}\nschedules: {retrain_after_drift: 3}",
            ["retrain_after_drift needs the schedules monitor and retrain"],
        ),
        ("name: [", ["not valid YAML"]),
        ("- a", ["a mapping with the keys name and data is needed"]),
        ("", ["a mapping with the keys name and data is needed"]),
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
        (["--set", "train.epochs"], "--set needs KEY=VALUE"),
        (["--set", "train.epochs=x"], "train.epochs"),
        (["--set", "name.x=1"], "name is not a section"),
        (["--set", "nothing=1"], "nothing: no such key"),
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
    assert "data.x: no such key" in content["error"]


def test_an_error_of_the_system_names_the_file_and_a_remedy() -> None:
    full = OSError(28, os.strerror(28), "/x/part-0")
    assert cli.message(full) == (
        "/x/part-0: no space left on device; free some space, or name another "
        "--storage or --output"
    )
    assert cli.message(ValueError("a: bad")) == "a: bad"


def test_examples_are_valid() -> None:
    examples = sorted(Path(__file__).parent.parent.glob("examples/*.yaml"))
    assert len(examples) >= 5
    for example in examples:
        assert yaml.safe_load(example.read_text())["name"] == example.stem
        load(example)
