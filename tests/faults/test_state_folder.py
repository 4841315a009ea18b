"""A folder in which embedded databases could not lie is refused with the reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runtime import environment


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a'b", 'a"b', "a\nb"])
def test_characters_of_urls_and_sql_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ValueError, match="cannot have a path with the character"):
        environment.check_root(str(tmp_path / name))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    environment.check_root(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a b", "größe", "a=b", "a&b", "a+b", "a:b;c"])
def test_other_characters_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    environment.check_root(str(tmp_path / name))


def test_a_command_says_so_and_writes_nothing(tmp_path: Path) -> None:
    own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    for name in ("a?b", "/".join(["x" * 100] * 6)):
        root = tmp_path / name
        arguments = ["verify", str(tmp_path), "--storage", str(root)]
        command = [sys.executable, "-m", "flows.cli", *arguments]
        ended = subprocess.run(command, env=own, capture_output=True, text=True)
        assert ended.returncode == 1
        assert "choose " in ended.stderr and "Traceback" not in ended.stderr
        assert not root.exists()
