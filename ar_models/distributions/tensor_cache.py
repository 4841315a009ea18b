"""Results computed from tensors, reused until the tensors change."""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class TensorCache(Generic[Result]):
    """Results that depend on tensors only and are slow to compute.

    Such as masked weights, or lists read from a GPU.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, tuple[tuple[object, ...], Result]] = {}

    def get(
        self,
        key: Hashable,
        tensors: Tensor | Sequence[Tensor],
        compute: Callable[[], Result],
    ) -> Result:
        """Return the result for a key, computed anew if its tensors have changed.

        Args:
            key: Identifies the result.
            tensors: All tensors that the result depends on.
            compute: Computes the result.
        """
        tensors = (tensors,) if isinstance(tensors, Tensor) else tensors
        if any(t.is_inference() for t in tensors) or torch.compiler.is_exporting():
            return compute()
        # Every change in place raises the version; `to` moves or converts the data.
        state = tuple((t._version, t.data_ptr(), t.dtype, t.device) for t in tensors)
        cached = self._results.get(key)
        if cached is None or cached[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                cached = state, compute()
            self._results[key] = cached
        return cached[1]

    def __reduce__(self) -> tuple[type["TensorCache[Result]"], tuple[()]]:
        return type(self), ()  # a copy of a model has tensors of its own
