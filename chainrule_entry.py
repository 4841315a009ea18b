"""Entry of every process of chainrule that starts among files of others.

The packages of this project have common names. A folder of a worker may hold `flows/`
and `tasks/` of its own, and stand first on the path of imports: each entry makes ours
found first. No other module has an effect when it is imported. It is

- the `chainrule` command and its supervised child process: this file as a program;
- the module of the deployed flows, which a Prefect worker imports;
- the first function that Ray's workers call, where another folder has our names.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {
    "ar_models": "density/saved_form.py",
    "flows": "cli/start.py",
    "tasks": "runtime/job.py",
}
"""The packages of this project, each with a file by which it is told from others."""

ROOT = Path(__file__).resolve().parent
"""Directory of the installed packages."""

WORKER_HOOK = "CHAINRULE_WORKER_HOOK"
"""Environment variable: name of the function that Ray's workers are to call first."""


class OwnPackages(MetaPathFinder):
    """Finder of this project's packages, whatever else has their names.

    The first one on the path of imports that is ours counts, since a registered model
    brings its own `ar_models`; where there is none, the installed one.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in PACKAGES:
            return None
        places = [entry for entry in sys.path if is_ours(Path(entry), fullname)]
        return PathFinder.find_spec(fullname, [*places, str(ROOT)], target)


def is_ours(folder: Path, name: str) -> bool:
    """Return whether a directory holds a package of this project.

    Args:
        folder: The directory.
        name: Name of the package.
    """
    return (folder / name / PACKAGES[name]).is_file()


def shadowing_folder() -> Path | None:
    """Return a directory whose packages Ray's workers would import in place of ours.

    They search the current directory and the path of imports of the driver.
    """
    for entry in ["", *sys.path]:
        for name in PACKAGES:
            folder = Path(entry)
            if (folder / name).is_dir() and not is_ours(folder, name):
                return folder.resolve()
    return None


def use_own_packages() -> None:
    """Let this process, and Ray's workers that it starts, import our packages.

    Raises:
        ImportError: A package of another folder, with the name of one of ours, has been
            imported already.
    """
    for name, mark in PACKAGES.items():
        module = sys.modules.get(name)
        if module is not None:
            folders = [Path(folder) for folder in module.__path__]
            if not any((folder / mark).is_file() for folder in folders):
                raise ImportError(
                    f"{folders[0]}: this package was imported in place of chainrule's "
                    f"package {name!r}; run chainrule in a process of its own"
                )
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())
    if shadowing_folder() is not None:
        os.environ.setdefault(WORKER_HOOK, f"{Path(__file__).stem}.use_own_packages")


def __getattr__(name: str) -> Any:  # a flow
    """Return a deployed flow by its name, for Prefect's `chainrule_entry.retrain`."""
    if name.startswith("_"):
        raise AttributeError(name)
    use_own_packages()
    from flows.deploy import scheduled

    return getattr(scheduled, name)


def main() -> None:
    """Run the command that the arguments of this process name."""
    use_own_packages()
    from flows.cli.start import main as run

    run()


if __name__ == "__main__":
    main()
