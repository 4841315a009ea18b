"""What is made of a tensor once, and kept until the tensor changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Things made of tensors that take long to make, such as lists from a GPU."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[tuple[object, ...], Made]] = {}

    def get(
        self,
        name: Hashable,
        made_of: Tensor | Sequence[Tensor],
        make: Callable[[], Made],
    ) -> Made:
        """What `make` gives, or gave under this name when the tensors were the same."""
        tensors = (made_of,) if isinstance(made_of, Tensor) else made_of
        if any(t.is_inference() for t in tensors) or torch.compiler.is_exporting():
            return make()
        # Every change in place raises the version; `to` moves or converts the data.
        state = tuple((t._version, t.data_ptr(), t.dtype, t.device) for t in tensors)
        kept = self._made.get(name)
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                kept = state, make()
            self._made[name] = kept
        return kept[1]

    def __reduce__(self) -> tuple[type["Kept[Made]"], tuple[()]]:
        return type(self), ()  # a copy has tensors of its own
