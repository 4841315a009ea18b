"""The entries find this project's packages, whatever folders stand before them."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import chainrule_entry

ENTRY = chainrule_entry.__file__

OTHERS = """
import sys, chainrule_entry
sys.path.insert(0, sys.argv[1])
{before}
chainrule_entry.use_own_packages()
{after}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with packages of the same names as ours."""
    for name in ("ar_models", "flows", "tasks", "tasks/config"):
        (tmp_path / name).mkdir()
        content = f"raise ImportError('the other {name}')\n"
        (tmp_path / name / "__init__.py").write_text(content)
    return tmp_path


def run(
    arguments: list[str], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the environment variables given."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": "."}])
@pytest.mark.parametrize("options", [[], ["-P"]])
def test_the_command_runs_among_packages_of_the_same_names(
    folder: Path, options: list[str], variables: dict[str, str]
) -> None:
    done = run([*options, ENTRY, "--version"], folder, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == version("chainrule")


def test_namespace_packages_are_no_obstacle(tmp_path: Path) -> None:
    for name in ("ar_models", "flows", "tasks"):
        (tmp_path / name).mkdir()
    done = run([ENTRY, "--help-config"], tmp_path, PYTHONPATH=".")
    assert (done.returncode, done.stderr) == (0, "")


def run_among(folder: Path, before: str = "", after: str = "") -> str:
    """Make our packages found in a process; return what it says last."""
    root = str(Path(ENTRY).parent)
    program = OTHERS.format(before=before, after=after)
    done = run(["-c", program, str(folder)], Path("/"), PYTHONPATH=root)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_a_deployed_flow_is_found_by_its_entrypoint(folder: Path) -> None:
    after = "print(chainrule_entry.retrain.name)"
    assert run_among(folder, after=after) == "scheduled-retrain"


def test_a_registered_model_brings_its_own_code(tmp_path: Path) -> None:
    package = tmp_path / "ar_models"
    (package / "density").mkdir(parents=True)
    (package / "density" / "saved_form.py").touch()
    (package / "__init__.py").touch()
    after = "import ar_models; print(ar_models.__file__)"
    assert run_among(tmp_path, after=after) == str(package / "__init__.py")


def test_packages_that_were_imported_before_are_named(folder: Path) -> None:
    (folder / "tasks" / "__init__.py").write_text("")
    said = run_among(folder, before="import tasks")
    assert said.startswith(
        f"ImportError: {folder / 'tasks'}: this package was imported"
    )


@pytest.mark.parametrize("shadowed", [True, False])
def test_workers_of_ray_are_prepared_where_a_folder_shadows_ours(
    folder: Path, shadowed: bool
) -> None:
    after = f"import os; print(os.environ.get({chainrule_entry.WORKER_HOOK!r}))"
    found = run_among(folder if shadowed else Path("/"), after=after)
    assert found == ("chainrule_entry.use_own_packages" if shadowed else "None")
