"""Recurrent network over the variables of a row, or over the places of a list."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.orderings import sequence_orderings
from ar_models.families.settings import RNNSettings
from ar_models.layers.dropout import Dropout
from ar_models.layers.sequence_tokens import PositionTokens
from ar_models.layers.variable_tokens import VariableTokens
from ar_models.variables import Variable


class RNN(AutoregressiveModel):
    """A recurrent network that reads the variables in the ordering.

    The input of each step encodes the last variable, its value and the next variable,
    so that the same weights serve several orderings. With `steps="places"`, each step
    is a place of a list, whose variables are predicted one after another within it.

    Reference:
        Graves, Generating sequences with recurrent neural networks, 2013.
        https://arxiv.org/abs/1308.0850
        Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
        https://arxiv.org/abs/1406.1078 (the GRU).
        Boulanger-Lewandowski, Bengio, Vincent, Modeling temporal dependencies in
        high-dimensional sequences, 2012. https://arxiv.org/abs/1206.6392 (a chain
        within each step).

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = RNN(binary_variables(3), RNN.Settings(hidden=16))
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = RNNSettings

    settings: RNNSettings

    def __init__(self, variables: Sequence[Variable], settings: RNNSettings) -> None:
        super().__init__(variables, settings, sequence_orderings(variables, settings))
        hidden = settings.hidden
        components, embedding = settings.components, settings.embedding
        self.places: PositionTokens | None = None
        if settings.steps == "places":
            self.capturable = False
            self.places = PositionTokens(
                variables, hidden, hidden, components=components, embedding=embedding
            )
        else:
            self.chain = VariableTokens(
                variables,
                hidden,
                components=components,
                embedding=embedding,
                shared=settings.shared,
            )
        cell = nn.LSTM if settings.cell == "lstm" else nn.GRU
        self.recurrent = nn.ModuleList(
            cell(hidden, hidden, batch_first=True) for _ in range(settings.layers)
        )
        self.dropout = Dropout(settings.dropout)
        if settings.cell == "lstm":
            with torch.no_grad():
                for layer in self.recurrent:
                    # Forget gates start open, so that gradients reach far back.
                    layer.get_parameter("bias_hh_l0")[hidden : 2 * hidden] += 1

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        if self.places is not None:
            count = self.places.longest(x)
            h, _ = self.run(self.dropout(self.places.embed(x, count)))
            return self.places.predict(h, x)
        order = self.ordering(which)
        h, _ = self.run(self.chain.embed(x, order)[:, :-1])
        return self.chain.predict(h, order)

    def run(
        self, vectors: Tensor, states: Sequence[Any] | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Run some steps of all layers.

        Args:
            vectors: Input vectors (batch, steps, hidden).
            states: State of each layer after the previous steps; None at the start.

        Returns:
            Hidden vectors of the last layer (batch, steps, hidden), and the states.
        """
        h, after = vectors, []
        for k, layer in enumerate(self.recurrent):
            if needs_fp32(h.device):
                with torch.autocast("cpu", enabled=False):
                    out, state = layer(h.float(), None if states is None else states[k])
            else:
                out, state = layer(h, None if states is None else states[k])
            h = self.dropout(out) if k == 0 else h + self.dropout(out)
            after.append(state)
        return h, after

    def features(self, x: Tensor) -> Tensor:
        """Return the last layer's final vector and its mean: (batch, 2 * hidden)."""
        if self.places is not None:
            return self.places.features(x, lambda vectors: self.run(vectors)[0])
        h, _ = self.run(self.chain.embed(x, self.ordering()))
        return torch.cat([h[:, -1], h.mean(1)], -1)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        if self.places is not None:
            return self.places.sample(
                self.variables, noise, given, self._with_state(), sampling
            )
        return self.chain.sample(
            self.variables,
            noise,
            given,
            self.ordering_list(which),
            self._with_state(),
            sampling,
        )

    def _with_state(self) -> Callable[[Tensor], Tensor]:
        """Return a function that runs one step, (batch, hidden) to (batch, hidden)."""
        states: list[Any] | None = None

        def advance(vector: Tensor) -> Tensor:
            nonlocal states
            h, states = self.run(vector.unsqueeze(1), states)
            return h.squeeze(1)

        return advance


def needs_fp32(device: torch.device) -> bool:
    """Return whether recurrent layers have to leave autocast to bf16.

    oneDNN has no recurrent layers in bf16 for processors without AVX-512, but torch
    calls it all the same.
    """
    in_bf16 = (
        device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
    return in_bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
