"""The direction of dependency, and that importing has no effects."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODELS = {
    "ar_models",
    "llvmlite",
    "numba",
    "numpy",
    "pyarrow",
    "safetensors",
    "torch",
}
TASKS = MODELS | {
    "datasketches",
    "jinja2",
    "matplotlib",
    "mlflow",
    "onnxruntime",
    "pandas",
    "psutil",
    "pydantic",
    "ray",
    "sklearn",
    "tasks",
    "yaml",
}
ALLOWED = {
    "ar_models": MODELS,
    "tasks": TASKS,
    "flows": TASKS | {"flows", "prefect", "rich", "typer"},
}
# The command line loads these before it knows what it will do.
LIGHT = {
    **{
        f"tasks/config/{path.name}": {
            "ar_models.families.settings",
            "pydantic",
            "tasks.config",
            "yaml",
        }
        for path in (ROOT / "tasks" / "config").glob("*.py")
    },
    "ar_models/families/settings.py": set(),
    "tasks/runtime/environment.py": set(),
    "tasks/runtime/progress.py": set(),
}
FILES = sorted(p for folder in ALLOWED for p in (ROOT / folder).glob("**/*.py"))


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and full name of every import in a file, deferred ones too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            found.append((node.lineno, name))
    return found


def names(module: str) -> set[str]:
    """A module's name and those of the packages that hold it."""
    parts = module.split(".")
    return {".".join(parts[: i + 1]) for i in range(len(parts))}


def offenders(path: Path, allowed: set[str]) -> list[str]:
    """Imports that are neither allowed nor of the standard library."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imported(path)
        if not names(name) & (allowed | sys.stdlib_module_names)
    ]


def test_there_are_files_to_check() -> None:
    assert {path.parent.name for path in FILES} >= {"ar_models", "tasks"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    assert offenders(path, ALLOWED[folder]) == []


@pytest.mark.parametrize("name", LIGHT)
def test_what_the_command_line_loads_first_is_light(name: str) -> None:
    assert offenders(ROOT / name, LIGHT[name]) == []


def test_an_offender_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "bad.py").write_text("import os\n\ndef f():\n    from flows import x\n")
    assert offenders(tmp_path / "bad.py", TASKS) == ["bad.py:4 imports flows"]
