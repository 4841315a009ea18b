"""Tests of the import order: between layers, between packages and inside them."""

import ast
import sys
from collections.abc import Iterator
from itertools import accumulate
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
    "boto3",
    "botocore",
    "datasketches",
    "deltalake",
    "jinja2",
    "matplotlib",
    "mlflow",
    "onnxruntime",
    "packaging",
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
# The packages of each layer, lower ones first. A package imports lower ones only;
# packages on one line do not import each other.
ORDER = {
    "ar_models": [
        {"variables", "kernels"},
        {"distributions", "tables"},
        {"layers"},
        {"families"},
        {"scoring"},
        {"density"},
    ],
    "tasks": [
        {"config"},
        {"runtime"},
        {"data", "reports"},
        {"inference"},
        {"evaluation"},
        {"monitoring"},
        {"registry"},
        {"training"},
    ],
    "flows": [
        {"outcomes"},
        {"blocks"},
        {"alerts", "links"},
        {"steps"},
        {"batch"},
        {"retrain", "tune"},
        {"calibrate"},
        {"commands"},
        {"dry_run"},
        {"process"},
        {"deploy"},
        {"cli"},
    ],
}
# Imports of the command line before it knows which command it runs.
LIGHT = {
    **{
        f"tasks/config/{path.name}": {
            "ar_models.families.settings",
            "ar_models.scoring.choices",
            "ar_models.tables.formulas.choices",
            "ar_models.tables.key_styles",
            "pydantic",
            "tasks.config",
            "yaml",
        }
        for path in (ROOT / "tasks" / "config").glob("*.py")
    },
    "ar_models/families/settings.py": set(),
    "ar_models/scoring/choices.py": set(),
    "ar_models/tables/formulas/choices.py": set(),
    "ar_models/tables/key_styles.py": set(),
    "tasks/runtime/environment.py": set(),
    "tasks/runtime/failures.py": set(),
    "tasks/runtime/memory.py": set(),
    "tasks/runtime/progress.py": set(),
    "tasks/runtime/redaction.py": set(),
    "tasks/runtime/spans.py": {"psutil"},
    "tasks/runtime/deferred.py": {"tasks.runtime.spans"},
}
FILES = sorted(p for layer in ALLOWED for p in (ROOT / layer).glob("**/*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of every import of a file, deferred ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{a.name}") for a in node.names)


def module_name(path: Path) -> str:
    """Return the dotted name of the module in a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package(name: str) -> str:
    """Return the package of a layer that a dotted name belongs to."""
    return (name.split(".") + [""])[1]


def modules() -> dict[str, Path]:
    """Return the files of all modules by dotted name."""
    return {module_name(path): path for path in FILES}


def module_graph() -> dict[str, set[str]]:
    """Return the modules that each module imports, by dotted name."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {
            target if target in known else target.rpartition(".")[0]
            for _, target in imports(path)
        }
        graph[name] = {t for t in targets if t in known and t != name}
    return graph


def offenders(path: Path, allowed: set[str]) -> list[str]:
    """Return imports that are neither allowed nor of the standard library.

    Args:
        path: The file.
        allowed: Names of modules and packages.
    """
    known = allowed | sys.stdlib_module_names
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if not {*accumulate(name.split("."), "{}.{}".format)} & known
    ]


def upward_imports(path: Path) -> list[str]:
    """Return imports of packages that do not stand below the file's own package."""
    name = module_name(path)
    layer = name.partition(".")[0]
    rank = {p: i for i, line in enumerate(ORDER[layer]) for p in line}
    own = package(name)
    return [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for line, target in imports(path)
        if target.partition(".")[0] == layer
        and package(target) != own
        and own in rank
        and rank.get(package(target), len(rank)) >= rank[own]
    ]


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_lower_layers_only(layer: str) -> None:
    files = sorted((ROOT / layer).glob("**/*.py"))
    assert files
    assert [o for path in files for o in offenders(path, ALLOWED[layer])] == []


def test_a_package_imports_lower_packages_only() -> None:
    assert [o for path in FILES for o in upward_imports(path)] == []


@pytest.mark.parametrize("layer", ALLOWED)
def test_every_package_has_its_place_in_the_order(layer: str) -> None:
    placed = {name for line in ORDER[layer] for name in line}
    assert {package(n) for n in modules() if n.startswith(f"{layer}.")} == placed


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = module_graph()
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in finished:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", LIGHT)
def test_the_command_line_starts_without_heavy_imports(name: str) -> None:
    assert offenders(ROOT / name, LIGHT[name]) == []


def test_an_offender_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "bad.py").write_text("import os\n\ndef f():\n    from flows import x\n")
    assert offenders(tmp_path / "bad.py", TASKS) == ["bad.py:4 imports flows.x"]
