"""Recurrent network over the variables of a row, or over the places of a sequence."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ar_models.autoregressive import AutoregressiveModel, Ordering
from ar_models.chain import Chain
from ar_models.conditionals import EXACT, Conditionals, Tempering
from ar_models.dropout import Dropout
from ar_models.steps import Steps, head_first
from ar_models.variables import Variable

Cell = Literal["lstm", "gru"]


class RNN(AutoregressiveModel):
    """A recurrent network that reads the variables in the ordering.

    At each step it is told which variable came last, its value, and which is next, so
    the same weights serve several orderings. Or each step is a place of a column of
    lists, with one or many variables that are chained within it.

    Reference:
        Graves, Generating sequences with recurrent neural networks, 2013.
        https://arxiv.org/abs/1308.0850
        Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
        https://arxiv.org/abs/1406.1078 (the GRU).
        Boulanger-Lewandowski, Bengio, Vincent, Modeling temporal dependencies in
        high-dimensional sequences, 2012. https://arxiv.org/abs/1206.6392 (a chain
        within each step).

    Args:
        variables: What each column of `x` is.
        hidden: Units of the state.
        layers: Recurrent layers.
        cell: "lstm" or "gru".
        orderings: Orderings that are averaged.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        shared: Whether one map reads, and one predicts, all variables; for variables
            that are alike, such as pixels or characters.
        steps: "variables", or "places": of the one column of lists, whose other
            variables and columns come first.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of each layer's outputs left out in train mode.
        seed: Of random orderings.

    Example:
        >>> from ar_models.variables import binary
        >>> model = RNN(binary(3), hidden=16)
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        hidden: int = 256,
        layers: int = 1,
        cell: Cell = "lstm",
        orderings: int = 1,
        ordering: Ordering = "natural",
        shared: bool = False,
        steps: Literal["variables", "places"] = "variables",
        components: int = 8,
        embedding: int = 16,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        taken = ordering
        if steps == "places":
            if ordering != "natural" or shared:
                raise ValueError(
                    "steps 'places' go with the ordering 'natural' and without shared, "
                    f"got {ordering!r} and {shared}"
                )
            taken = [head_first(variables)]
        super().__init__(variables, orderings=orderings, ordering=taken, seed=seed)
        if hidden < 1 or layers < 1:
            raise ValueError(
                f"hidden and layers must be at least 1, got {hidden} and {layers}"
            )
        if cell not in ("lstm", "gru"):
            raise ValueError(f"cell must be 'lstm' or 'gru', got {cell!r}")
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "layers": layers,
            "cell": cell,
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "shared": shared,
            "steps": steps,
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.places: Steps | None = None
        if steps == "places":
            self.recordable = False
            self.places = Steps(
                variables, hidden, hidden, components=components, embedding=embedding
            )
        else:
            self.chain = Chain(
                variables,
                hidden,
                components=components,
                embedding=embedding,
                shared=shared,
            )
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrent = nn.ModuleList(
            kind(hidden, hidden, batch_first=True) for _ in range(layers)
        )
        self.dropout = Dropout(dropout)
        if cell == "lstm":
            with torch.no_grad():
                for layer in self.recurrent:
                    # Forget gates start open, so that gradients reach far back.
                    layer.get_parameter("bias_hh_l0")[hidden : 2 * hidden] += 1

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        if self.places is not None:
            count = self.places.longest(x)
            h, _ = self.run(self.dropout(self.places.read(x, count)))
            return self.places.predict(h, x)
        order = self.ordering(which)
        h, _ = self.run(self.chain.read(x, order)[:, :-1])
        return self.chain.predict(h, order)

    def run(
        self, vectors: Tensor, states: Sequence[Any] | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Some steps of all layers.

        Args:
            vectors: What is read, (batch, steps, hidden).
            states: Of each layer after the steps before; at the start if None.

        Returns:
            The last layer's hidden vectors (batch, steps, hidden), and the states.
        """
        h, after = vectors, []
        for k, layer in enumerate(self.recurrent):
            out, state = layer(h, None if states is None else states[k])
            h = self.dropout(out) if k == 0 else h + self.dropout(out)
            after.append(state)
        return h, after

    def features(self, x: Tensor) -> Tensor:
        """The last layer after all variables, and its mean: (batch, 2 * hidden)."""
        if self.places is not None:
            return self.places.features(x, lambda vectors: self.run(vectors)[0])
        h, _ = self.run(self.chain.read(x, self.ordering()))
        return torch.cat([h[:, -1], h.mean(1)], -1)

    def config(self) -> dict[str, Any]:
        return dict(self.settings)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        if self.places is not None:
            return self.places.draw(
                self.variables, noise, given, self._stepping(), tempering
            )
        return self.chain.draw(
            self.variables,
            noise,
            given,
            self.sequence(which),
            self._stepping(),
            tempering,
        )

    def _stepping(self) -> Callable[[Tensor], Tensor]:
        """Takes what one step reads, (batch, hidden), and keeps the states."""
        states: list[Any] | None = None

        def advance(vector: Tensor) -> Tensor:
            nonlocal states
            h, states = self.run(vector.unsqueeze(1), states)
            return h.squeeze(1)

        return advance
