"""From observations to what a network sees of each variable."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ar_models import feature_loops
from ar_models.compiled import by_loop, loops_pay
from ar_models.grouping import Group, Grouping
from ar_models.variables import Variable

LARGE = 64
"""Vocabularies with more codes are embedded instead of one-hot."""

DIGITS = 3
"""Last decimal digits of wide integers that a network sees, at most."""

SOFT_LIMIT = 4.0
"""Scaled values grow only logarithmically beyond this, or beyond the outer knots."""


class Features(Group):
    """What a network sees of variables of one kind: (batch, count) -> (…, width)."""

    def of_present(self, x: Tensor) -> Tensor:
        """The features, 0 where `x` is NaN."""
        features: Tensor = self(x)
        return features.masked_fill(x.isnan().unsqueeze(-1), 0)


class BinaryFeatures(Features):
    """The value itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1)


class CodeFeatures(Features):
    """One-hot codes."""

    codes: Tensor  # (count, size)

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(-1) == self.codes).to(x.dtype)


class EmbeddedFeatures(Features):
    """A learned vector per code."""

    table: Tensor  # (count, size, width)

    def forward(self, x: Tensor) -> Tensor:
        variable = torch.arange(x.shape[1], device=x.device)
        code = x.nan_to_num().long().clamp(0, self.table.shape[1] - 1)
        return self.table[variable, code]


class NumberFeatures(Features):
    """A number, softly limited, its piecewise linear encoding, atoms and digits.

    Decimal digits show what no smooth feature can: minutes in a clock time such as
    1905, round amounts, prices that end in 99.

    Reference:
        Gorishniy, Rubachev, Babenko, On embeddings for numerical features in tabular
        deep learning, 2022. https://arxiv.org/abs/2203.05556
    """

    location: Tensor  # (count,)
    scale: Tensor  # (count,)
    limits: Tensor  # (count, 2), in scaled units
    knots: Tensor  # (count, bins + 1), in the variable's units
    atoms: Tensor  # (count, atoms)
    places: Tensor  # (count, digits): 1, 10, …

    def forward(self, x: Tensor) -> Tensor:
        z = (x - self.location) / self.scale
        inside = z.clamp(self.limits[:, 0], self.limits[:, 1])
        limited = (inside + torch.asinh(z - inside)).unsqueeze(-1)
        value = x.unsqueeze(-1)
        left, right = self.knots[:, :-1], self.knots[:, 1:]
        pieces = ((value - left) / (right - left)).clamp(0, 1)
        at_atoms = (value == self.atoms).to(x.dtype)
        digits = (value / self.places).floor().remainder(10).unsqueeze(-1)
        each = (digits == torch.arange(10, device=x.device)).to(x.dtype).flatten(-2)
        return torch.cat([limited, pieces, at_atoms, each], -1)

    def of_present(self, x: Tensor) -> Tensor:
        if not loops_pay(x, times=self.width):
            return super().of_present(x)
        rule = self.location, self.scale, self.limits, self.knots, self.atoms
        (features,) = by_loop(
            feature_loops.of_numbers,
            x,
            *rule,
            self.places,
            shape=(*x.shape, self.width),
        )
        return features


class Inputs(Grouping):
    """Network features of every variable; (batch, dim) -> (batch, size).

    Binary variables are themselves, categorical ones one-hot or, when large, embedded;
    numbers are softly limited, encoded piecewise linearly over their knots and, when
    they have few atoms, one-hot at these; integers that span more than their atoms can
    tell apart show their last decimal digits too. The features of an absent variable
    are 0.
    `owner` tells which variable a feature belongs to.
    """

    @classmethod
    def of(cls, variables: Sequence[Variable], embedding: int = 16) -> Self:
        """The features of `variables`; `embedding` numbers per large vocabulary."""
        buckets: dict[tuple[str, int, int, int], list[int]] = {}
        for i, variable in enumerate(variables):
            buckets.setdefault(_shape(variable), []).append(i)
        groups = [
            _group(key, [variables[i] for i in members], embedding)
            for key, members in buckets.items()
        ]
        return cls(groups, list(buckets.values()))

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for k, group in enumerate(self.groups):
            assert isinstance(group, Features)
            parts.append(group.of_present(self.take(k, x)).flatten(1))
        return torch.cat(parts, dim=-1)

    def of_one(self, x: Tensor, variable: int) -> tuple[Tensor, slice]:
        """The features (batch, width) of a variable's values, and where they stand.

        Args:
            x: The values of that variable, (batch,).
            variable: Its number.
        """
        group, at = self.alone(variable)
        assert isinstance(group, Features)
        return group.of_present(x.unsqueeze(-1)).squeeze(1), at


def _shape(variable: Variable) -> tuple[str, int, int, int]:
    if variable.kind in ("binary", "categorical"):
        return variable.kind, variable.size, 0, 0
    digits = _digits(variable)
    return "number", len(_knots(variable)), len(_atoms(variable)), digits


def _digits(variable: Variable) -> int:
    """How many of its last decimal digits are shown: those that its knots span."""
    if variable.kind != "integer" or not variable.knots:
        return 0
    span = variable.knots[-1] - variable.knots[0]
    if span <= LARGE:
        return 0
    return min(DIGITS, math.floor(math.log10(span)))


def _knots(variable: Variable) -> list[float]:
    """Distinct float32 knots; at least two or none."""
    distinct = torch.tensor(variable.knots).unique().tolist()
    return distinct if len(distinct) > 1 else []


def _atoms(variable: Variable) -> tuple[float, ...]:
    return variable.atoms if len(variable.atoms) <= LARGE else ()


def _group(
    key: tuple[str, int, int, int], variables: list[Variable], embedding: int
) -> Group:
    kind, size, atoms, digits = key
    count = len(variables)
    if kind == "binary":
        return BinaryFeatures(1, {})
    if kind == "categorical" and size > LARGE:
        table = torch.randn(count, size, embedding)
        return EmbeddedFeatures(embedding, {}, {"table": table})
    if kind == "categorical":
        return CodeFeatures(
            size, {"codes": torch.arange(size).expand(count, -1).clone()}
        )
    location = torch.tensor([v.location for v in variables])
    scale = torch.tensor([v.scale for v in variables])
    knots = torch.tensor([_knots(v) for v in variables]).reshape(count, size)
    outer = knots[:, [0, -1]] if size else torch.tensor([[-torch.inf, torch.inf]])
    limits = ((outer - location[:, None]) / scale[:, None]).clamp(
        -SOFT_LIMIT, SOFT_LIMIT
    )
    return NumberFeatures(
        1 + max(size - 1, 0) + atoms + 10 * digits,
        {
            "location": location,
            "scale": scale,
            "limits": limits,
            "knots": knots,
            "atoms": torch.tensor([_atoms(v) for v in variables]).reshape(count, atoms),
            "places": (10.0 ** torch.arange(digits)).expand(count, -1).clone(),
        },
    )
