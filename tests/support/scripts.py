"""Scripts of `benchmarks/` as modules."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def import_script(name: str) -> ModuleType:
    """Import a script, which finds other scripts by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return import_module(name)
