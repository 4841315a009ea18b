"""Test of the command as a module."""

import subprocess
import sys
from importlib.metadata import version


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "flows.cli", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == version("chainrule")
