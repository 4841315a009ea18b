"""The steps of infra/Dockerfile, run in an empty folder: `make check-image`."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

STEPS = {"FROM", "ENV", "WORKDIR", "COPY", "ARG", "RUN", "USER", "ENTRYPOINT", "CMD"}


def steps(target: str) -> list[tuple[str, str]]:
    """Return the instructions of a target of the Dockerfile, its base's first."""
    text = (INFRA / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        what, rest = line.split(maxsplit=1)
        assert what in STEPS, line
        if what == "FROM":
            base, _, name = rest.split()
            stages[name] = list(stages.get(base, []))
        else:
            stages[name].append((what, rest))
    return stages[target]


def test_the_dockerfile_can_be_read_as_steps() -> None:
    for target in ("cpu", "cuda"):
        found = steps(target)
        assert found[0][0] == "ENV"
        assert json.loads(found[-1][1])[0] == "chainrule"
        runs = [shlex.split(rest)[0] for what, rest in found if what == "RUN"]
        assert sorted(runs) == ["pip", "useradd"]


@pytest.mark.image
def test_the_image_has_what_its_services_run(tmp_path: Path) -> None:
    folder, home = tmp_path / "image", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "LANG"))}
    environment = {
        **kept,
        "PATH": f"{venv / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        # Where only some of the indexes can be reached.
        "PIP_RETRIES": "0",
    }
    for what, rest in steps("cpu"):
        if what == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif what == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, folder / target)
        elif what == "RUN" and shlex.split(rest)[0] == "pip":
            command = shlex.split(rest)
            subprocess.run(command, cwd=folder, env=environment, check=True)

    def says(*command: str) -> str:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    assert "No broken requirements" in says("pip", "check")
    for program in programs():
        assert says(program, "--help")
    # What the servers of the stack import when they are asked to.
    says("python", "-c", "import asyncpg, boto3, flask_wtf, psycopg2")
    assert "retrain" in says(*json.loads(steps("cpu")[-1][1]))
    where = says("python", "-c", "import flows.cli.main as c; print(c.__file__)")
    assert where.startswith(str(venv))


def copy(source: Path, target: Path) -> None:
    """Copy a file into a folder, or a folder to a folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target / source.name)


def programs() -> set[str]:
    """Return the programs that services run in the image."""
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    own = [s for s in services.values() if s["image"].startswith("chainrule:")]
    commands = [" ".join(each["command"]) for each in own]
    found = {
        name
        for command in commands
        for name in re.findall(r"\b(mlflow|prefect|ray|chainrule|python)\b", command)
    }
    assert {"mlflow", "prefect", "ray"} <= found
    return found
