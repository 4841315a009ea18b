"""What is made of a tensor once, and kept until the tensor changes."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Things made of a tensor, such as lists, for which a program waits for a GPU."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[tuple[object, ...], Made]] = {}

    def get(self, name: Hashable, tensor: Tensor, make: Callable[[], Made]) -> Made:
        """What `make` gives, or gave under this name when the tensor was the same."""
        if tensor.is_inference() or torch.compiler.is_exporting():
            return make()
        # Every change in place raises the version; `to` moves or converts the data.
        state = (tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device)
        kept = self._made.get(name)
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                kept = state, make()
            self._made[name] = kept
        return kept[1]

    def __reduce__(self) -> tuple[type["Kept[Made]"], tuple[()]]:
        return type(self), ()  # a copy has tensors of its own
