"""Random changes of train rows, which make the learned density smoother."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_models.variables import Variable


class Augmentation:
    """Noise on numbers and swaps of values between rows, by torch's global generator.

    Args:
        variables: The variable of each column of `x`.
        noise: Standard deviation of the noise on numbers, in units of the variable's
            scale.
        swap_noise: Share of the values of columns that are replaced by another row's.
        device: Device of the rows.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        noise: float,
        swap_noise: float,
        device: torch.device,
    ) -> None:
        numbers = [v.kind in ("integer", "real") for v in variables]
        spread = [
            noise * v.scale if number else 0.0
            for v, number in zip(variables, numbers, strict=True)
        ]
        lower = [-torch.inf if v.lower is None else v.lower for v in variables]
        upper = [torch.inf if v.upper is None else v.upper for v in variables]
        whole = [v.kind == "integer" for v in variables]
        groups = list(dict.fromkeys(v.group for v in variables))
        self.noise, self.swap_noise = noise, swap_noise
        self.spread = torch.tensor(spread, device=device)
        self.lower = torch.tensor(lower, device=device)
        self.upper = torch.tensor(upper, device=device)
        self.whole = torch.tensor(whole, device=device)
        self.count = len(groups)
        self.group = torch.tensor(
            [groups.index(v.group) for v in variables], device=device
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return changed rows, (batch, dim); absent values stay so unless swapped.

        All variables of a column are swapped together, so that rows stay valid.
        """
        if self.swap_noise:
            shape = len(x), self.count
            chosen = torch.rand(shape, device=x.device) < self.swap_noise
            donor = torch.randint(len(x), shape, device=x.device)
            others = x.gather(0, donor[:, self.group])
            x = torch.where(chosen[:, self.group], others, x)
        if self.noise:
            noisy = x + self.spread * torch.randn_like(x)
            rounded = noisy.round().clamp(self.lower, self.upper)
            x = torch.where(self.whole, rounded, noisy)
        return x
