"""A device that is not there: tensors that live elsewhere, and only say so.

Their values are kept in the memory of this machine, but an operation on tensors of both
devices fails as it does on a GPU. So what runs here has no tensor in the wrong place.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.amp import autocast
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map_only

ELSEWHERE = torch.device("meta")
"""Torch has no memory for this device, so its name is free."""

FROM_NUMBERS = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
"""Functions that create tensors without an operation."""

aten = torch.ops.aten
TRANSFERS = {aten._to_copy.default, aten.copy_.default}
INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
"""Operations whose indices may be tensors of the CPU."""

WAITING = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_dim.default,
}
"""Operations whose result depends on values, for which a program waits."""


@dataclass
class Seen:
    """Operations that involve both devices.

    Attributes:
        waits: Operations at which a program waits for a GPU.
        transfers: Operations that copy values from the CPU to the device.
    """

    waits: list[str] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all operations."""
        self.waits.clear()
        self.transfers.clear()


class Elsewhere(Tensor):
    """Tensor of the simulated device.

    Attributes:
        here: Its values, as a tensor of the CPU.
    """

    here: Tensor

    @staticmethod
    def __new__(cls: type["Elsewhere"], here: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=ELSEWHERE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(
        cls,
        operation: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return run(operation, args, dict(kwargs or {}))

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _Functions(TorchFunctionMode):
    """Mode that intercepts functions of torch which are not operations."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self,
        function: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is Tensor.tolist and isinstance(args[0], Elsewhere):
            self.seen.waits.append("tolist")
            return args[0].here.tolist()
        if function in {Tensor.__getitem__, Tensor.__setitem__}:
            args = args[0], _with_tensors(args[1]), *args[2:]
        if function in FROM_NUMBERS:
            like = args[0].device if function is Tensor.new_tensor else None
            device = kwargs.pop("device", like)
            if function is Tensor.new_tensor:
                kwargs.setdefault("dtype", args[0].dtype)
                function, args = torch.tensor, args[1:]
            return function(*args, **kwargs).to(device)
        return function(*args, **kwargs)


def _with_tensors(index: Any) -> Any:
    """Return an index in which tensors replace lists."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


class _Mode(TorchDispatchMode):
    """Mode that intercepts operations and creates tensors of the device."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if Elsewhere not in types and not _is_there(kwargs.get("device")):
            return operation(*args, **kwargs)
        return run(operation, args, kwargs, self.seen)


class _Autocast(autocast):
    """Autocast that supports the simulated device, too."""

    def __init__(self, device: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(_known(device), *args, **kwargs)


def _known(device: str) -> str:
    """Return a type of device for which torch supports autocast."""
    return "cpu" if device == ELSEWHERE.type else device


def _fused() -> list[str]:
    """Return the types of devices for which torch has fused optimisers."""
    return ["cpu", ELSEWHERE.type]


def _without_gradients(mode: Any) -> None:
    """Disable gradients instead of entering inference mode."""
    context = torch.no_grad() if mode.mode else nullcontext()
    mode._inference_mode_context = context
    context.__enter__()


@contextmanager
def elsewhere() -> Iterator[Seen]:
    """Simulate the device during the block.

    Yields:
        Operations that wait for the device or transfer values to it.
    """
    seen = Seen()
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    with (
        patch.object(torch, "autocast", _Autocast),
        patch.object(torch, "is_autocast_enabled", lambda d: enabled(_known(d))),
        patch.object(torch, "get_autocast_dtype", lambda d: dtype(_known(d))),
        patch.object(optimizer, "_get_fused_kernels_supported_devices", _fused),
        patch.object(torch.inference_mode, "__enter__", _without_gradients),
        _Mode(seen),
        _Functions(seen),
    ):
        yield seen


def run(
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    seen: Seen | None = None,
) -> Any:
    """Run an operation on tensors of one of the devices.

    Raises:
        RuntimeError: The operation takes tensors of both.
    """
    flat = list(_leaves((args, *kwargs.values())))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    of_there = [value for value in tensors if isinstance(value, Elsewhere)]
    device = kwargs.get("device")
    if not of_there and not _is_there(device):
        return operation(*args, **kwargs)
    lost = [
        t for t in tensors if t.device == ELSEWHERE and not isinstance(t, Elsewhere)
    ]
    assert not lost, f"{operation} takes a tensor that has no values"
    if operation in INDEXING:
        tensors = [t for t in args if isinstance(t, Tensor)]
    if of_there and operation not in TRANSFERS:
        here = [t for t in tensors if not isinstance(t, Elsewhere) and t.dim()]
        if here:
            raise RuntimeError(f"{operation} takes tensors of two devices")
    if seen is not None and _waits(operation, args, device):
        seen.waits.append(str(operation))
    if seen is not None and _transfers(operation, tensors, flat):
        seen.transfers.append(str(operation))
    inner = {name: _values(value) for name, value in kwargs.items()}
    if device is not None:
        inner["device"] = "cpu"
    result = operation(*_values(args), **inner)
    stays = device is None or _is_there(device)
    if not stays or (
        operation is aten.copy_.default and not isinstance(args[0], Elsewhere)
    ):
        return result
    result = tree_map_only(Tensor, Elsewhere, result)
    if not _has_aliases(operation):
        return result
    return return_and_correct_aliasing(operation, args, kwargs, result)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _values(value: Any) -> Any:
    """Return a value with tensors of the CPU in place of those of the device."""
    if isinstance(value, Elsewhere):
        return value.here
    if isinstance(value, list | tuple):
        return type(value)(map(_values, value))
    return value


@cache
def _has_aliases(operation: Any) -> bool:
    schema = operation._schema
    return any(a.alias_info is not None for a in [*schema.arguments, *schema.returns])


def _waits(operation: Any, args: tuple[Any, ...], device: object) -> bool:
    if operation in WAITING:
        return True
    if operation in INDEXING:
        # A mask is turned into places, but where all get the same number.
        masked = any(i is not None and i.dtype == torch.bool for i in args[1])
        return masked and (len(args) < 3 or args[2].numel() > 1)
    if operation is aten._to_copy.default:
        return (
            isinstance(args[0], Elsewhere)
            and device is not None
            and not _is_there(device)
        )
    if operation is aten.copy_.default:
        return isinstance(args[1], Elsewhere) and not isinstance(args[0], Elsewhere)
    return False


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device) == ELSEWHERE


def _transfers(operation: Any, tensors: list[Tensor], flat: list[Any]) -> bool:
    if operation in INDEXING:
        tensors = [value for value in flat if isinstance(value, Tensor)]
    return any(not isinstance(tensor, Elsewhere) and tensor.dim() for tensor in tensors)
