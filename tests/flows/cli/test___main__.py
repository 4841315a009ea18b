"""Test of the command as a module."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "flows.cli", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == version("chainrule")


def test_timings_show_each_phase_on_stderr(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "status", "--timings", "--json"]
    options = ["--storage", str(tmp_path / "storage")]
    ended = subprocess.run([*command, *options], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for phase in ("import the command line", "command", "whole command"):
        assert f"{phase} " in ended.stderr
    assert "whole command" not in ended.stdout
