"""Causal transformer over the variables of a row, or over the places of a list."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.orderings import sequence_orderings
from ar_models.families.settings import TransformerSettings
from ar_models.layers.attention import causal_attention
from ar_models.layers.dropout import Dropout
from ar_models.layers.sequence_tokens import INIT_STD, PositionTokens
from ar_models.layers.variable_tokens import VariableTokens, random_orderings
from ar_models.variables import Variable

CACHE_BYTES = 2**29
"""Maximum size of the key-value caches when sampling, in bytes."""


class Block(nn.Module):
    """A pre-norm transformer block: causal attention, then a feed-forward map.

    Args:
        hidden: Width of the residual stream.
        heads: Number of attention heads.
        dropout: Share of the output of attention and feed-forward map that is dropped.
    """

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        self.norm_feed = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the residual stream after the block, (batch, length, hidden).

        Args:
            h: Residual stream (batch, length, hidden).
            mask: Positions that each position attends to, bool (batch, 1, length,
                length); by default itself and all before it.
        """
        q, k, v = self.project(h)
        if mask is None:
            return self.add(h, causal_attention(q, k, v))
        return self.add(h, F.scaled_dot_product_attention(q, k, v, mask))

    def project(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, (batch, heads, length, width) each."""
        qkv = self.qkv(self.norm_attention(h))
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in qkv.chunk(3, -1)
        )
        return q, k, v

    def add(self, h: Tensor, attended: Tensor) -> Tensor:
        """Add the attention output and the feed-forward map to the residual stream."""
        h = h + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        fed = self.down(F.gelu(self.up(self.norm_feed(h))))
        out: Tensor = h + self.dropout(fed)
        return out


class Transformer(AutoregressiveModel):
    """A causal transformer over the variables in the ordering.

    The input at each position encodes the last variable, its value and the next
    variable, so that the same weights serve every ordering. With `order_agnostic`, each
    row and step is trained in a new random ordering that keeps the variables of each
    group in order; then any columns can be given to `sample`, and `orderings` are
    averaged in eval mode only.

    Reference:
        Vaswani et al., Attention is all you need, 2017.
        https://arxiv.org/abs/1706.03762 (here normalised before each part, and with
        learned vectors for the variables instead of positions).
        Hoogeboom et al., Autoregressive diffusion models, 2022.
        https://arxiv.org/abs/2110.02037 (order-agnostic training; there one step of
        an ordering is trained at a time, here, by causal attention, all of them).

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> settings = Transformer.Settings(hidden=16, layers=1, heads=2)
        >>> model = Transformer(binary_variables(3), settings)
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = TransformerSettings

    settings: TransformerSettings

    def __init__(
        self,
        variables: Sequence[Variable],
        settings: TransformerSettings,
    ) -> None:
        hidden, layers, heads = settings.hidden, settings.layers, settings.heads
        if hidden % heads:
            raise ValueError(
                f"hidden must be a multiple of heads, got {hidden} and {heads}"
            )
        if settings.steps == "places" and settings.order_agnostic:
            raise ValueError("steps 'places' cannot be combined with order_agnostic")
        super().__init__(variables, settings, sequence_orderings(variables, settings))
        components, embedding = settings.components, settings.embedding
        self.order_agnostic = settings.order_agnostic
        self.places: PositionTokens | None = None
        self.length = self.dim  # of the sequence
        if settings.steps == "places":
            self.capturable = False
            self.places = PositionTokens(
                variables, hidden, hidden, components=components, embedding=embedding
            )
            self.length = len(self.places.places) + 1
            self.position = nn.Parameter(torch.randn(self.length, hidden) * INIT_STD)
        else:
            self.chain = VariableTokens(
                variables,
                hidden,
                components=components,
                embedding=embedding,
                shared=settings.shared,
            )
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            Block(hidden, heads, settings.dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        for name, parameter in self.blocks.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5)

    def conditionals(self, x: Tensor, which: int | Tensor = 0) -> Conditionals:
        """Return the conditional of every variable given those before it.

        Args:
            x: Observations (batch, dim), NaN where absent.
            which: Number of an ordering, or an ordering itself (dim,), or one ordering
                per row (batch, dim).
        """
        if self.places is not None:
            vectors = self.places.embed(x, self.places.longest(x))
            return self.places.predict(self.norm(self._run_blocks(vectors)), x)
        order = which if isinstance(which, Tensor) else self.ordering(which)
        h = self.dropout(self.chain.embed(x, order)[:, :-1])
        for block in self.blocks:
            h = block(h)
        return self.chain.predict(self.norm(h), order)

    def _run_blocks(self, vectors: Tensor) -> Tensor:
        """Apply all blocks to the token vectors of places (batch, length, hidden)."""
        position = self.position[: vectors.shape[1]]
        h: Tensor = self.dropout(vectors + position)
        for block in self.blocks:
            h = block(h)
        return h

    def conditionals_given(self, x: Tensor, known: Tensor) -> Conditionals:
        if not self.order_agnostic:
            return super().conditionals_given(x, known)
        order = self._known_first(known)
        count = known.sum(-1, keepdim=True)
        places = torch.arange(self.dim, device=x.device)
        # Each unknown variable is predicted as if it came right after the known ones.
        last = places.minimum(count).unsqueeze(-1)
        values = torch.take_along_dim(self.chain.embed_values(x, order), last, 1)
        h = self.dropout(values + self.chain.next[order])
        before = places < last
        mask = (before | (places == places.unsqueeze(-1))).unsqueeze(1)
        for block in self.blocks:
            h = block(h, mask)
        return self.chain.predict(self.norm(h), order)

    def _known_first(self, known: Tensor, which: int = 0) -> Tensor:
        """Return orderings (batch, dim) in which the known variables come first."""
        order = self.ordering(which)
        return order[(~known[:, order]).int().argsort(stable=True, dim=-1)]

    def marginal_conditionals(
        self, x: Tensor, known: Tensor, which: int = 0
    ) -> Conditionals:
        if not self.order_agnostic:
            return super().marginal_conditionals(x, known, which)
        return self.conditionals(x, self._known_first(known, which))

    def marginal_log_prob(self, x: Tensor, known: Tensor) -> Tensor:
        if not self.order_agnostic:
            return super().marginal_log_prob(x, known)
        each = [
            self.marginal_conditionals(x, known, k).log_prob(x)
            for k in range(self.orderings)
        ]
        rows = torch.stack(each).masked_fill(~known, 0).sum(-1)
        return rows.logsumexp(0) - math.log(self.orderings)

    def log_prob(self, x: Tensor) -> Tensor:
        if self.training and self.order_agnostic:
            return self.variable_log_prob(x).sum(-1)
        return super().log_prob(x)

    def variable_log_prob(self, x: Tensor) -> Tensor:
        if self.training and self.order_agnostic:
            keys = torch.rand(x.shape, device=x.device)
            order = random_orderings(self.variables, keys)
            return self.conditionals(x, order).log_prob(x)
        return super().variable_log_prob(x)

    def features(self, x: Tensor) -> Tensor:
        """Return the mean over positions after each block: (batch, layers * hidden)."""
        if self.places is not None:
            return self.places.features(x, self._run_blocks)
        h = self.chain.embed(x, self.ordering())
        means = []
        for block in self.blocks:
            h = block(h)
            means.append(h.mean(1))
        return torch.cat(means, -1)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise to samples; if order-agnostic, given values come first."""
        order: Tensor | list[int] = self.ordering_list(which)
        if self.order_agnostic and given is not None:
            known = ~given.isnan()
            if bool((known == known[:1]).all()):
                order = self._known_first(known[:1], which)[0].tolist()
            else:
                order = self._known_first(known, which)
        return self._draw_in_parts(noise, given, order, sampling)

    def _draw_places(
        self, noise: Tensor, given: Tensor | None, sampling: SamplingParams
    ) -> Tensor:
        assert self.places is not None
        advance, place = self._with_cache(), 0

        def with_position(vector: Tensor) -> Tensor:
            nonlocal place
            place += 1
            return advance(vector + self.position[place - 1])

        return self.places.sample(self.variables, noise, given, with_position, sampling)

    def _draw_in_parts(
        self,
        noise: Tensor,
        given: Tensor | None,
        order: Tensor | list[int],
        sampling: SamplingParams,
    ) -> Tensor:
        numbers = 2 * len(self.blocks) * self.length * self.settings.hidden
        rows = max(1, CACHE_BYTES // (numbers * noise.element_size()))
        drawn = []
        for start in range(0, len(noise), rows):
            part = slice(start, start + rows)
            known = None if given is None else given[part]
            if self.places is not None:
                drawn.append(self._draw_places(noise[part], known, sampling))
                continue
            own = order[part] if isinstance(order, Tensor) else order
            settings = own, self._with_cache(), sampling
            drawn.append(
                self.chain.sample(self.variables, noise[part], known, *settings)
            )
        return torch.cat(drawn)

    def _with_cache(self) -> Callable[[Tensor], Tensor]:
        """Return a function that runs one step, (batch, hidden) to (batch, hidden)."""
        caches: list[Tensor] = []
        place = 0

        def advance(h: Tensor) -> Tensor:
            nonlocal place
            h = self.dropout(h).unsqueeze(1)
            for layer, block in enumerate(self.blocks):
                assert isinstance(block, Block)
                q, *new = block.project(h)
                if place == 0:
                    batch, heads, _, width = q.shape
                    caches.append(q.new_empty(2, batch, heads, self.length, width))
                kv = caches[layer]
                kv[:, :, :, place] = torch.stack(new).squeeze(3)
                k, v = kv[:, :, :, : place + 1]
                attended = F.scaled_dot_product_attention(q, k, v)
                h = block.add(h, attended)
            place += 1
            normalised: Tensor = self.norm(h)
            return normalised.squeeze(1)

        return advance
