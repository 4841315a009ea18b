"""Draws that a GPU repeats by itself.

A draw is thousands of small operations, one after another, and a processor takes longer
to order them than a GPU to do them. So the order is given once and recorded (a CUDA
graph): a recording is repeated with other noise at the speed of the GPU.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

KEPT = 32
"""Recordings of a model that are kept, each with memory of its own on the GPU."""

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records work: what repeats it, and where each time its result lies."""


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Records work on the current CUDA device, on which all its tensors are.

    It must not wait for the device, nor bring values to it.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # libraries set themselves up at the first call, which is no work
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


RECORDERS: dict[str, Record] = {"cuda": cuda_graph}
"""By the type of the device."""


@dataclass(frozen=True)
class Recording:
    """A draw that can be repeated.

    Attributes:
        noise: Where its noise is to lie.
        repeat: Draws once more.
        drawn: Where its result lies then.
    """

    noise: Tensor
    repeat: Callable[[], None]
    drawn: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """What comes of this noise."""
        self.noise.copy_(noise)
        self.repeat()
        return self.drawn.clone()


class Recordings:
    """Those of a model with its present weights.

    A draw is recorded when it is asked for the second time with the same settings and
    number of rows: a recording takes as long as a few draws.
    """

    def __init__(self) -> None:
        self._clear(())

    def _clear(self, state: tuple[object, ...]) -> None:
        self._state = state
        self._once: set[Hashable] = set()
        self._made: dict[Hashable, Recording] = {}

    def draw(
        self,
        model: nn.Module,
        noise: Tensor,
        settings: Hashable,
        draw: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """What `draw` makes of the noise, if it can be from a recording.

        Args:
            model: Whose weights `draw` uses.
            noise: Uniform numbers.
            settings: All else that the draw depends on.
            draw: Draws.
        """
        record = RECORDERS.get(noise.device.type)
        if record is None:
            return draw(noise)
        self._forget_old_weights(model)
        key = settings, noise.shape, noise.dtype
        if key in self._made:
            return self._made[key].draw(noise)
        if key not in self._once or len(self._made) >= KEPT:
            self._once.add(key)
            return draw(noise)
        own = noise.clone()
        repeat, drawn = record(lambda: draw(own))
        self._made[key] = Recording(own, repeat, drawn)
        return self._made[key].draw(noise)

    def _forget_old_weights(self, model: nn.Module) -> None:
        """A recording reads the memory that held the weights when it was made."""
        tensors = [*model.parameters(), *model.buffers()]
        state = tuple(
            (0 if t.is_inference() else t._version, t.data_ptr(), t.dtype)
            for t in tensors
        )
        if state != self._state:
            self._clear(state)

    def __reduce__(self) -> tuple[type["Recordings"], tuple[()]]:
        return Recordings, ()  # a copy has none
