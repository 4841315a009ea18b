"""Gated convolutions over images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.settings import PixelCNNSettings
from ar_models.layers.draws import sample_group
from ar_models.layers.dropout import Dropout
from ar_models.layers.variable_tokens import SharedValueEmbedding
from ar_models.variables import Variable, apply_given

CACHE_BYTES = 2**29
"""Maximum size of the feature maps when sampling, in bytes."""

GRID = 4
"""Cells per side of the grid over which `features` averages feature maps."""


class Across(nn.Module):
    """A convolution over a pixel and the pixels to its left, causal in the channels.

    Every feature map belongs to a channel. At the pixel itself, the maps of a channel
    see only the maps of the channels up to it.

    Args:
        of_inputs: Channel of each input map (inputs,).
        of_outputs: Channel of each output map (outputs,).
        width: Width of the convolution in pixels, the last one being the pixel itself.
        strict: Whether only earlier channels are seen at the pixel itself.
    """

    mask: Tensor

    def __init__(
        self,
        of_inputs: Tensor,
        of_outputs: Tensor,
        *,
        width: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__()
        convolution = nn.Conv2d(len(of_inputs), len(of_outputs), (1, width))
        self.weight = convolution.weight
        self.bias = convolution.bias
        mask = torch.ones(self.weight.shape, dtype=torch.bool)
        limit = of_outputs.unsqueeze(-1) - int(strict)
        mask[:, :, 0, -1] = of_inputs <= limit
        self.is_whole = bool(mask.all())
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width - 1 + n) to (batch, outputs, height, n)."""
        return F.conv2d(x, self.masked(), self.bias)

    def masked(self) -> Tensor:
        """Return the weight, 0 where a later channel would be seen."""
        return self.weight if self.is_whole else self.weight * self.mask

    def flat(self) -> Tensor:
        """Return the masked weight for flattened inputs: (outputs, width * inputs)."""
        return self.masked().squeeze(2).transpose(1, 2).flatten(1)


def gate(h: Tensor, dim: int = 1) -> Tensor:
    """Return the first half of the maps, gated by the second half."""
    value, opening = h.chunk(2, dim)
    gated: Tensor = value.tanh() * opening.sigmoid()
    return gated


class Block(nn.Module):
    """A gated layer of the vertical and of the horizontal stack.

    The vertical stack at a pixel sees all rows up to the pixel's own; the horizontal
    stack sees the pixels to the left and, through the vertical stack, all rows above.
    So together they see all pixels before, without a blind spot.

    Args:
        of_maps: The channel of each map, (hidden,).
        kernel: Width of the convolutions, odd, at least 3.
        dropout: Share of gated maps left out in train mode.
    """

    def __init__(self, of_maps: Tensor, kernel: int, dropout: float) -> None:
        super().__init__()
        hidden, reach = len(of_maps), kernel // 2
        twice = of_maps.repeat(2)
        self.down = nn.Conv2d(
            hidden, 2 * hidden, (reach + 1, kernel), padding=(0, reach)
        )
        self.above = nn.Conv2d(hidden, 2 * hidden, 1)
        self.across = Across(of_maps, twice, width=reach + 1)
        self.out = Across(of_maps, of_maps)
        self.dropout = Dropout(dropout)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """Return both stacks after the layer, (batch, hidden, height, width) each."""
        reach = self.across.weight.shape[-1] - 1
        vertical = self.lower(F.pad(vertical, (0, 0, reach, 0)))
        above = F.pad(vertical[:, :, :-1], (0, 0, 1, 0))
        within = self.across(F.pad(horizontal, (reach, 0))) + self.above(above)
        return vertical, horizontal + self.out(self.dropout(gate(within)))

    def lower(self, rows: Tensor) -> Tensor:
        """Return the vertical stack's next layer, less the first `kernel // 2` rows."""
        reach = self.across.weight.shape[-1] - 1
        added: Tensor = self.dropout(gate(self.down(rows)))
        return rows[:, :, reach:] + added


class PixelCNN(AutoregressiveModel):
    """Gated convolutions over images, masked so that each pixel sees those before it.

    Pixels are taken row by row, the channels of a pixel one after another: variable
    (row * width + column) * channels + channel. All variables must be alike: binary,
    categorical (a softmax over 8-bit values) or integer (discretised logistics).

    Reference:
        van den Oord et al., Conditional image generation with PixelCNN decoders, 2016.
        https://arxiv.org/abs/1606.05328 (here also the vertical stack has residual
        connections, both have dropout, and each place a learned bias).
        Salimans, Karpathy, Chen, Kingma, PixelCNN++, 2017.
        https://arxiv.org/abs/1701.05517 (discretised logistics).

    Args:
        variables: Descriptions of the columns of `x`, height * width * channels of
            them.
        settings: Shape of the images, and settings of the network.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> settings = PixelCNN.Settings(height=3, width=4, hidden=8, layers=2)
        >>> model = PixelCNN(binary_variables(12), settings)
        >>> model.log_prob(torch.zeros(5, 12)).shape
        torch.Size([5])
    """

    Settings = PixelCNNSettings

    settings: PixelCNNSettings

    def __init__(
        self, variables: Sequence[Variable], settings: PixelCNNSettings
    ) -> None:
        super().__init__(variables, settings)
        height, width, channels = settings.height, settings.width, settings.channels
        _check_image(variables, height, width, channels)
        hidden, kernel = settings.hidden, settings.kernel
        if hidden < channels or kernel % 2 == 0:
            raise ValueError(
                "hidden must be at least channels, and kernel odd, got "
                f"{hidden} and {kernel}"
            )
        embedding = settings.embedding
        self.shape = height, width, channels
        self.reach = reach = kernel // 2
        self.layout = ParameterLayout.of(
            variables, settings.components, factorise=False
        )
        self.tokens = SharedValueEmbedding(variables, embedding)
        if variables[0].size:
            with (
                torch.no_grad()
            ):  # so that neighbouring values start with similar vectors
                self.tokens.weight[:, 0] = torch.linspace(-1, 1, variables[0].size)
        of_maps = torch.arange(hidden) * channels // hidden
        of_inputs = torch.arange(channels).repeat_interleave(embedding)
        of_outputs = torch.arange(channels).repeat_interleave(
            self.layout.size // self.dim
        )
        self.first_down = nn.Conv2d(
            len(of_inputs), hidden, (reach + 1, kernel), padding=(0, reach)
        )
        self.first_across = Across(of_inputs, of_maps, width=reach + 1, strict=True)
        self.place = nn.Parameter(torch.randn(hidden, height, width) * 0.01)
        self.blocks = nn.ModuleList(
            Block(of_maps, kernel, settings.dropout) for _ in range(settings.layers)
        )
        self.mix = Across(of_maps, of_maps)
        self.last = Across(of_maps, of_outputs)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # there is one
        self.bias = nn.Parameter(self.layout.initial_bias())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        _, horizontal = self.stacks(x)
        maps = self.last(F.elu(self.mix(F.elu(horizontal))))
        # (batch, channels * parameters, height, width), to pixel after pixel
        return Conditionals(
            self.layout, maps.permute(0, 2, 3, 1).flatten(1) + self.bias
        )

    def stacks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last maps of both stacks, (batch, hidden, height, width) each."""
        height, width, channels = self.shape
        values = self.tokens(x).unflatten(1, (height, width, channels))
        image = values.flatten(3).permute(0, 3, 1, 2)
        padded = F.pad(image, (0, 0, self.reach, 0))
        vertical = self.first_down(padded) + self.place
        horizontal = self.first_across(F.pad(image, (self.reach, 0))) + self.place
        for block in self.blocks:
            vertical, horizontal = block(vertical, horizontal)
        return vertical, horizontal

    def features(self, x: Tensor) -> Tensor:
        """Return both stacks, averaged over the cells of a grid: (batch, n)."""
        height, width, _ = self.shape
        maps = torch.cat(self.stacks(x), 1)
        grid = min(GRID, height), min(GRID, width)
        return F.adaptive_avg_pool2d(maps, grid).flatten(1)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        height, width, _ = self.shape
        maps = (2 * len(self.blocks) + 4) * len(self.place)
        each = maps * (height + self.reach) * width * noise.element_size()
        rows = max(1, CACHE_BYTES // each)
        parts = noise.split(rows)
        known = [None] * len(parts) if given is None else given.split(rows)
        drawn = [
            PixelSampler(self, uniform, own, sampling).run()
            for uniform, own in zip(parts, known, strict=True)
        ]
        return torch.cat(drawn)


class PixelSampler:
    """Samples images; computes each feature map once, when all its inputs are known.

    Args:
        model: The model.
        noise: Uniform numbers (batch, dim, 2).
        given: Known values (batch, dim), NaN where free; None: nothing.
        sampling: Of every conditional.
    """

    def __init__(
        self,
        model: PixelCNN,
        noise: Tensor,
        given: Tensor | None,
        sampling: SamplingParams,
    ) -> None:
        self.model = model
        self.noise = noise
        self.given = given
        self.sampling = sampling
        self.x = noise.new_full(noise.shape[:2], torch.nan)
        self.blocks = [block for block in model.blocks if isinstance(block, Block)]
        height, width, _ = model.shape
        rows, maps = model.reach + height, len(model.place)
        # Zeros stand above the first row and, below, left of the first column.
        new = model.place.new_zeros
        inputs = model.first_down.in_channels
        self.image = new(len(noise), inputs, rows, width)
        self.vertical = new(len(self.blocks) + 1, len(noise), maps, rows, width)
        self.first, self.mix, self.last = (
            (convolution.flat(), convolution.bias)
            for convolution in (model.first_across, model.mix, model.last)
        )
        self.across = [(b.across.flat(), b.across.bias) for b in self.blocks]
        self.out = [(b.out.flat(), b.out.bias) for b in self.blocks]

    def run(self) -> Tensor:
        """Sample all pixels: (batch, dim)."""
        height, width, channels = self.model.shape
        for row in range(height):
            self.enter(row)
            for column in range(width):
                for channel in range(channels):
                    self.draw(row, column, channel)
            self.leave(row)
        return self.x

    def enter(self, row: int) -> None:
        """Start a row of pixels with the contributions of the rows above."""
        reach, width = self.model.reach, self.model.shape[1]
        above = self.vertical[1:, :, :, reach + row - 1, None]
        self.above = [
            block.above(maps).squeeze(2).permute(2, 0, 1)  # (width, batch, 2 hidden)
            for block, maps in zip(self.blocks, above, strict=True)
        ]
        batch, inputs, maps = len(self.x), self.image.shape[1], len(self.model.place)
        self.values = self.image.new_zeros(batch, reach + width, inputs)
        self.horizontal = self.image.new_zeros(
            len(self.blocks), batch, reach + width, maps
        )

    def draw(self, row: int, column: int, channel: int) -> None:
        """Sample one variable and store the embedding of its value."""
        model, tokens = self.model, self.model.tokens
        _, width, channels = model.shape
        i = (row * width + column) * channels + channel
        group, at = model.layout.single(i)
        start = channel * group.width
        parameters = self.maps(row, column)[:, start : start + group.width]
        parameters = parameters + model.bias[at]
        free = sample_group(group, parameters, self.noise[:, i], self.sampling)
        known = None if self.given is None else self.given[:, i]
        value = apply_given(model.variables[i], free, known, self.x)
        self.x[:, i] = value
        embedded = tokens.forward_one(self.x, i)
        start = channel * embedded.shape[1]
        place = self.values[:, model.reach + column]
        place[:, start : start + embedded.shape[1]] = embedded

    def maps(self, row: int, column: int) -> Tensor:
        """Return the parameters of a pixel, without biases: (batch, channels * n)."""
        here = self.model.reach + column
        seen = slice(column, here + 1)
        h = F.linear(self.values[:, seen].flatten(1), *self.first)
        h = h + self.model.place[:, row, column]
        for k, block in enumerate(self.blocks):
            layer = self.horizontal[k]
            layer[:, here] = h
            within = F.linear(layer[:, seen].flatten(1), *self.across[k])
            gated = gate(within + self.above[k][column])
            h = h + F.linear(block.dropout(gated), *self.out[k])
        return F.linear(F.elu(F.linear(F.elu(h), *self.mix)), *self.last)

    def leave(self, row: int) -> None:
        """Add a complete row of pixels to the vertical stack."""
        model, reach = self.model, self.model.reach
        rows, own = slice(row, row + reach + 1), reach + row
        self.image[:, :, own] = self.values[:, reach:].transpose(1, 2)
        first = model.first_down(self.image[:, :, rows]).squeeze(2)
        self.vertical[0, :, :, own] = first + model.place[:, row]
        for k, block in enumerate(self.blocks):
            lower = block.lower(self.vertical[k, :, :, rows]).squeeze(2)
            self.vertical[k + 1, :, :, own] = lower


def _check_image(
    variables: Sequence[Variable], height: int, width: int, channels: int
) -> None:
    """Raise ValueError unless the variables are pixels of images of this shape."""
    if min(height, width, channels) < 1 or len(variables) != height * width * channels:
        raise ValueError(
            f"an image of height {height}, width {width} and {channels} channels has "
            f"{height * width * channels} variables, got {len(variables)}; for table "
            "rows choose a family such as made, transformer or rnn"
        )
    if any(variable.parent is not None for variable in variables):
        child = next(v for v in variables if v.parent is not None)
        raise ValueError(
            f"{child.name} depends on {variables[child.parent or 0].name} for its "
            "presence, which pixels cannot; for table rows choose a family such as "
            "made, transformer or rnn"
        )
