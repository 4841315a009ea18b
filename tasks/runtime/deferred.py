"""Modules that are imported when they are first used.

A command imports what it uses: torch, MLflow and Ray take seconds each.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from tasks.runtime.spans import span


class DeferredModule(ModuleType):
    """A module that is imported when one of its attributes is first read.

    The type checker reads the import that the name stands for:

        if TYPE_CHECKING:
            import torch
        else:
            torch = DeferredModule("torch")
    """

    def __getattr__(self, name: str) -> Any:  # whatever the module has
        if self.__name__ in sys.modules:
            # Waits for another thread that is importing it.
            module = importlib.import_module(self.__name__)
        else:
            with span(f"import {self.__name__}"):
                module = importlib.import_module(self.__name__)
        return getattr(module, name)
