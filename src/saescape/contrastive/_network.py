"""A small convolutional network whose filters have unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from saescape._typing import FloatArray

_SD_FLOOR = 1e-3
N_HALVINGS = 3


def _convolution(n_in: int, n_out: int, stride: int) -> nn.Conv2d:
    """3 x 3 convolution; the border is repeated, as a border of zeros gives its positions a pattern of their own."""
    return nn.Conv2d(n_in, n_out, 3, stride, 1, padding_mode="replicate")


class _Residual(nn.Module):
    """Pre-activation block: two 3 x 3 convolutions beside a 1 x 1 shortcut where the size changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(n_in, n_out, stride)
        self.second = _convolution(n_out, n_out, 1)
        self.shortcut = None if stride == 1 and n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(n, C, h, w)` to `(n, C', h', w')`."""
        y = self.second(torch.relu(self.first(torch.relu(x))))
        return y + (x if self.shortcut is None else self.shortcut(x))


class SmallNetwork(nn.Module):
    """Crops `(n, C, h, w)` to signed maps `(n, n_dims, h / 8, w / 8)`, each side rounded up.

    There is no normalisation over the batch, so a crop's map does not depend on other crops. The mean and SD of each
    channel over the training data are part of the network.
    """

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self, n_channels: int, n_dims: int) -> None:
        super().__init__()
        widths = [max(8, n_dims // 4), max(16, n_dims // 2), n_dims]
        self.stem = _convolution(n_channels, widths[0], 2)
        self.blocks = nn.Sequential(
            _Residual(widths[0], widths[1], 2),
            _Residual(widths[1], widths[2], 2),
            _Residual(widths[2], n_dims, 1),
        )
        self.register_buffer("mean", torch.zeros(n_channels, 1, 1))
        self.register_buffer("sd", torch.ones(n_channels, 1, 1))

    def set_scale(self, mean: FloatArray, sd: FloatArray) -> None:
        """Take over mean and SD `(n_channels,)`; channels that hardly vary are not blown up."""
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32)[:, None, None])
        self.sd.copy_(torch.as_tensor(sd, dtype=torch.float32)[:, None, None].clamp(min=_SD_FLOOR))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps of crops in the units of the training data."""
        return self.blocks(self.stem((x - self.mean) / self.sd))


class Projection(nn.Module):
    """Pooled and normalised maps to points on the sphere, where the loss compares them."""

    def __init__(self, n_dims: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_dims, 2 * n_dims, bias=False), nn.ReLU(), nn.Linear(2 * n_dims, n_dims // 2, bias=False)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(n, d, h, w)` to unit vectors `(n, d / 2)`."""
        pooled = nn.functional.normalize(maps.mean((2, 3)), dim=1)
        return nn.functional.normalize(self.layers(pooled), dim=1)


@torch.no_grad()
def unit_filters_(*modules: nn.Module) -> None:
    """Rescale every filter and every row of a linear layer to unit length, in place."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                length = part.weight.flatten(1).norm(dim=1).clamp(min=1e-12)
                part.weight.div_(length.view(-1, *[1] * (part.weight.ndim - 1)))


def encode(network: SmallNetwork, crops: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Maps of crops, in evaluation mode and without gradients."""
    network.eval()
    with torch.inference_mode():
        return network(crops.to(device).contiguous(memory_format=torch.channels_last))


def seeded_network(n_channels: int, n_dims: int, seed: int) -> tuple[SmallNetwork, Projection]:
    """Network and projection with weights of this seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # not `torch.manual_seed`, which seeds the accelerators too
        torch.default_generator.manual_seed(seed)
        network, projection = SmallNetwork(n_channels, n_dims), Projection(n_dims)
    unit_filters_(network, projection)
    return network, projection
