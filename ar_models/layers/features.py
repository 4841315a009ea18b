"""Input features of a network, computed from the values of variables."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ar_models.distributions.variable_groups import VariableGroup, VariableGroups
from ar_models.kernels import features as feature_kernels
from ar_models.kernels.compiled import run_kernel, use_kernel
from ar_models.layers.date_features import (
    HARMONICS,
    DateFeatures,
    date_features,
    harmonics,
)
from ar_models.variables import MAX_ONE_HOT, Variable

DIGITS = 3
"""Maximum number of last decimal digits of an integer that are features."""

SOFT_LIMIT = 4.0
"""Scaled values beyond this, or beyond the outer knots, are compressed
logarithmically."""


class GroupFeatures(VariableGroup):
    """Features of variables of one kind: (batch, count) -> (batch, count, width)."""

    def of_present(self, x: Tensor) -> Tensor:
        """Compute the features, 0 where `x` is NaN."""
        features: Tensor = self(x)
        return features.masked_fill(x.isnan().unsqueeze(-1), 0)


class BinaryFeatures(GroupFeatures):
    """The values of binary variables themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1)


class CodeFeatures(GroupFeatures):
    """One-hot codes of categorical variables."""

    codes: Tensor  # (count, size)

    def forward(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(-1) == self.codes).to(x.dtype)


class EmbeddedFeatures(GroupFeatures):
    """Learned embeddings of categorical variables, a vector for each code."""

    table: Tensor  # (count, size, width)

    def forward(self, x: Tensor) -> Tensor:
        variable = torch.arange(x.shape[1], device=x.device)
        code = x.nan_to_num().long().clamp(0, self.table.shape[1] - 1)
        return self.table[variable, code]


class NumberFeatures(GroupFeatures):
    """Features of numbers: the value, its piecewise linear encoding, atoms, digits.

    Decimal digits express what no smooth feature can, such as minutes in a clock time
    like 1905, round amounts, and prices that end in 99.

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
        if not use_kernel(x, times=self.width):
            return super().of_present(x)
        rule = self.location, self.scale, self.limits, self.knots, self.atoms
        return run_kernel(
            feature_kernels.encode_numbers,
            x,
            *rule,
            self.places,
            shape=(*x.shape, self.width),
        )


class CyclicFeatures(CodeFeatures):
    """One-hot codes of cyclic variables, and sines and cosines of their phase."""

    def forward(self, x: Tensor) -> Tensor:
        codes = super().forward(x)
        return torch.cat([codes, harmonics(x / self.codes.shape[-1])], -1)


class IntervalFeatures(NumberFeatures):
    """Features of numbers with a tree: also the leaf and the last two digits one-hot.

    Together the two determine clock times, round amounts and codes, which neither the
    value nor single digits show to a layer without many units.
    """

    starts: Tensor  # (count, leaves): least integers of the leaves
    ends: Tensor  # (count, leaves): least integers beyond them

    def forward(self, x: Tensor) -> Tensor:
        value = x.unsqueeze(-1)
        leaf = ((value >= self.starts) & (value < self.ends)).to(x.dtype)
        last = value.remainder(100) == torch.arange(100, device=x.device)
        return torch.cat([super().forward(x), leaf, last.to(x.dtype)], -1)

    def of_present(self, x: Tensor) -> Tensor:
        if not use_kernel(x, times=self.width):
            return GroupFeatures.of_present(self, x)
        constants = self.location, self.scale, *self.limits.unbind(-1)
        return run_kernel(
            feature_kernels.encode_intervals,
            x,
            torch.stack(constants, -1),
            self.knots,
            self.atoms,
            self.places,
            self.ends,
            shape=(*x.shape, self.width),
        )


class InputFeatures(VariableGroups):
    """Input features of all variables: (batch, dim) -> (batch, size).

    Categorical variables are one-hot encoded or, with many codes, embedded. Numbers are
    compressed beyond a limit, encoded piecewise linearly over their knots and one-hot
    at their atoms, if these are few; integers with a wide range have their last decimal
    digits as features too. A month or day also has features of the date that it
    determines together with the parts before it in its group. The features of an absent
    variable are 0. `variable_index` is the variable of each feature.
    """

    @classmethod
    def of(cls, variables: Sequence[Variable], embedding: int = 16) -> Self:
        """Return the features of variables.

        Args:
            variables: The variables of a model.
            embedding: Number of features of a variable with many codes.
        """
        buckets: dict[tuple[str, int, int, int, int], list[int]] = {}
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
            if isinstance(group, DateFeatures):
                own = group.of_rows(x, self.get_buffer(f"members_{k}"))
            else:
                assert isinstance(group, GroupFeatures)
                own = group.of_present(self.gather(k, x))
            parts.append(own.flatten(1))
        return torch.cat(parts, dim=-1)

    def forward_one(self, x: Tensor, variable: int) -> tuple[Tensor, slice]:
        """Return the features (batch, width) of one variable, and their slice.

        Args:
            x: Rows (batch, dim), complete at least up to the variable in its group.
            variable: Index of the variable.
        """
        group, at = self.single(variable)
        if isinstance(group, DateFeatures):
            own = group.of_rows(x, torch.tensor([variable], device=x.device))
        else:
            assert isinstance(group, GroupFeatures)
            own = group.of_present(x[:, variable : variable + 1])
        return own.squeeze(1), at


def _shape(variable: Variable) -> tuple[str, int, int, int, int]:
    if variable.date:
        return "date", variable.size, len(_knots(variable)), 0, 0
    if variable.cyclic and variable.size <= MAX_ONE_HOT:
        return "cyclic", variable.size, 0, 0, 0
    if variable.kind in ("binary", "categorical"):
        return variable.kind, variable.size, 0, 0, 0
    digits = _digits(variable)
    atoms, edges = len(_atoms(variable)), len(variable.edges)
    return "number", len(_knots(variable)), atoms, digits, edges


def _digits(variable: Variable) -> int:
    """Return how many last decimal digits are features: those that the knots span."""
    if variable.kind != "integer" or not variable.knots:
        return 0
    span = variable.knots[-1] - variable.knots[0]
    if span <= MAX_ONE_HOT:
        return 0
    return min(DIGITS, math.floor(math.log10(span)))


def _knots(variable: Variable) -> list[float]:
    """Return the distinct float32 knots; none if there is only one."""
    distinct = torch.tensor(variable.knots).unique().tolist()
    return distinct if len(distinct) > 1 else []


def _atoms(variable: Variable) -> tuple[float, ...]:
    return variable.atoms if len(variable.atoms) <= MAX_ONE_HOT else ()


def _group(
    key: tuple[str, int, int, int, int], variables: list[Variable], embedding: int
) -> VariableGroup:
    kind, size, atoms, digits, edges = key
    count = len(variables)
    if kind == "binary":
        return BinaryFeatures(1, {})
    if kind == "categorical" and size > MAX_ONE_HOT:
        table = torch.randn(count, size, embedding)
        return EmbeddedFeatures(embedding, {}, {"table": table})
    codes = torch.arange(size).expand(count, -1).clone()
    if kind == "categorical":
        return CodeFeatures(size, {"codes": codes})
    if kind == "cyclic":
        return CyclicFeatures(size + HARMONICS, {"codes": codes})
    if kind == "date":
        return date_features(variables, [_knots(v) for v in variables])
    number = _number_constants(variables, size)
    number["atoms"] = torch.tensor([_atoms(v) for v in variables]).reshape(count, atoms)
    number["places"] = (10.0 ** torch.arange(digits)).expand(count, -1).clone()
    width = 1 + max(size - 1, 0) + atoms + 10 * digits
    if not edges:
        return NumberFeatures(width, number)
    bounds = torch.tensor([[-torch.inf, *v.edges, torch.inf] for v in variables])
    number |= {"starts": bounds[:, :-1].clone(), "ends": bounds[:, 1:].clone()}
    return IntervalFeatures(width + edges + 1 + 100, number)


def _number_constants(variables: list[Variable], knots: int) -> dict[str, Tensor]:
    """Return location, scale, limits and knots of numbers with equally many knots."""
    count = len(variables)
    location = torch.tensor([v.location for v in variables])
    scale = torch.tensor([v.scale for v in variables])
    bends = torch.tensor([_knots(v) for v in variables]).reshape(count, knots)
    outer = bends[:, [0, -1]] if knots else torch.tensor([[-torch.inf, torch.inf]])
    limits = ((outer - location[:, None]) / scale[:, None]).clamp(
        -SOFT_LIMIT, SOFT_LIMIT
    )
    return {"location": location, "scale": scale, "limits": limits, "knots": bends}
