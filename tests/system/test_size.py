"""Tests of the size of modules, functions and argument lists."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("ar_models", "tasks", "flows")
FILES = sorted(
    path
    for layer in LAYERS
    for path in (ROOT / layer).glob("**/*.py")
    if path.name != "__init__.py"
)
MAX_MODULE_LINES = 500
MAX_MEDIAN_LINES = 200
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 8


def lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return path.read_text().count("\n")


def functions(path: Path) -> list[ast.FunctionDef]:
    """Return all functions and methods of a module."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.FunctionDef)]


def arguments(function: ast.FunctionDef) -> int:
    """Return the number of arguments of a function besides `self` and `cls`."""
    given = function.args
    names = [a.arg for a in given.posonlyargs + given.args + given.kwonlyargs]
    return len([name for name in names if name not in ("self", "cls")])


def test_modules_fit_a_subject() -> None:
    long = {str(p.relative_to(ROOT)): lines(p) for p in FILES}
    assert {k: n for k, n in long.items() if n > MAX_MODULE_LINES} == {}
    assert statistics.median(long.values()) < MAX_MEDIAN_LINES


@pytest.mark.parametrize("layer", LAYERS)
def test_functions_fit_a_screen(layer: str) -> None:
    found = [f for path in (ROOT / layer).glob("**/*.py") for f in functions(path)]
    assert found
    for f in found:
        assert (f.end_lineno or 0) - f.lineno < MAX_FUNCTION_LINES, f.name
        assert arguments(f) <= MAX_ARGUMENTS, f.name
