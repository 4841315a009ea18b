"""Modules that are imported when they are first used.

A command imports what it uses: torch, MLflow and Ray take seconds each.
"""

import importlib
from types import ModuleType
from typing import Any


class DeferredModule(ModuleType):
    """A module that is imported when one of its attributes is first read.

    The type checker reads the import that the name stands for:

        if TYPE_CHECKING:
            import torch
        else:
            torch = DeferredModule("torch")
    """

    def __getattr__(self, name: str) -> Any:  # whatever the module has
        return getattr(importlib.import_module(self.__name__), name)
