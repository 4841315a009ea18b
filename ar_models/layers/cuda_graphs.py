"""Sampling by captured CUDA graphs.

Drawing a batch of rows launches thousands of small kernels in sequence, and the CPU
takes longer to launch them than the GPU to run them. A captured graph replays all of
them at the speed of the GPU, with new noise each time.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAX_GRAPHS = 32
"""Maximum number of graphs of a model, each with memory of its own on the GPU."""

Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Captures work; returns a function that replays it and the tensor of its result."""


def capture_cuda_graph(
    work: Callable[[], Tensor],
) -> tuple[Callable[[], None], Tensor]:
    """Capture work on the current CUDA device as a graph.

    Args:
        work: Must neither wait for the device nor copy values to it.

    Returns:
        A function that replays the work, and the tensor that then holds its result.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # libraries initialise at the first call, which cannot be captured
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


CAPTURERS: dict[str, Capture] = {"cuda": capture_cuda_graph}
"""Functions that capture graphs, by device type."""


@dataclass(frozen=True)
class CapturedGraph:
    """Work on a GPU that can be replayed.

    Attributes:
        noise: The tensor that the work reads its noise from.
        replay: Runs the work once more.
        result: The tensor that the work writes its result to.
    """

    noise: Tensor
    replay: Callable[[], None]
    result: Tensor

    def run(self, noise: Tensor) -> Tensor:
        """Replay the work with new noise and return a copy of its result."""
        self.noise.copy_(noise)
        self.replay()
        return self.result.clone()


class CudaGraphCache:
    """Captured graphs of a model, valid while its weights do not change.

    Work is captured when it is asked for the second time with the same settings and
    number of rows, as capturing takes as long as running it a few times.
    """

    def __init__(self) -> None:
        self._clear(())

    def _clear(self, state: tuple[object, ...]) -> None:
        self._state = state
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, CapturedGraph] = {}

    def run(
        self,
        model: nn.Module,
        noise: Tensor,
        settings: Hashable,
        work: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Return the result of work on noise, replayed from a graph where possible.

        Args:
            model: The model whose weights the work uses.
            noise: Uniform numbers.
            settings: All else that the work depends on.
            work: Function of the noise.
        """
        capture = CAPTURERS.get(noise.device.type)
        if capture is None:
            return work(noise)
        self._clear_if_weights_changed(model)
        key = settings, noise.shape, noise.dtype
        if key in self._graphs:
            return self._graphs[key].run(noise)
        if key not in self._seen or len(self._graphs) >= MAX_GRAPHS:
            self._seen.add(key)
            return work(noise)
        own_noise = noise.clone()
        replay, result = capture(lambda: work(own_noise))
        self._graphs[key] = CapturedGraph(own_noise, replay, result)
        return self._graphs[key].run(noise)

    def _clear_if_weights_changed(self, model: nn.Module) -> None:
        # A graph reads the memory that held the weights when it was captured.
        tensors = [*model.parameters(), *model.buffers()]
        state = tuple(
            (0 if t.is_inference() else t._version, t.data_ptr(), t.dtype)
            for t in tensors
        )
        if state != self._state:
            self._clear(state)

    def __reduce__(self) -> tuple[type["CudaGraphCache"], tuple[()]]:
        return CudaGraphCache, ()  # a copy of a model has no graphs
