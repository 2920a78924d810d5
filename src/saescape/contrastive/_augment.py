"""Random views of microscopy crops: what changes here, the representation learns to ignore."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Views:
    """What a view changes.

    Quarter turns and flips (cells have no up or down), shifts of up to `shift` of a side (segmentations are not centred
    alike), gain and offset of each channel (`intensity`: SD of the logarithm of the gain, and of the offset in units of
    the channel's SD), and noise (SD in the same units).
    """

    turns: bool = True
    flips: bool = True
    shift: float = 0.06
    intensity: float = 0.1
    noise: float = 0.05


def random_view(crops: torch.Tensor, views: Views, sd: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One view of each crop `(n, C, h, w)`; `sd` `(C, 1, 1)` of the channels. Random numbers come from the CPU."""
    n, n_channels, height, width = crops.shape
    out = crops
    if views.turns:
        out = _turned(out, torch.randint(4, (n,), generator=generator))
    if views.flips:
        flip = torch.rand(n, generator=generator) < 0.5
        out = torch.where(flip[:, None, None, None].to(out.device), out.flip(3), out)
    if views.shift:
        reach = (round(views.shift * height), round(views.shift * width))
        out = _shifted(out, reach, generator)
    if views.intensity:
        gain = torch.exp(views.intensity * torch.randn(n, n_channels, 1, 1, generator=generator)).to(out.device)
        offset = (views.intensity * torch.randn(n, n_channels, 1, 1, generator=generator)).to(out.device) * sd
        # zero is outside of the cell or of the image, and stays so
        out = torch.where(out == 0, out, out * gain + offset)
    if views.noise:
        noise = torch.randn(out.shape, generator=generator).to(out.device) * (views.noise * sd)
        out = torch.where(out == 0, out, out + noise)
    return out


def _turned(crops: torch.Tensor, quarter: torch.Tensor) -> torch.Tensor:
    # a quarter turn of an oblong crop has another shape: those are turned by halves only
    steps = (0, 1, 2, 3) if crops.shape[2] == crops.shape[3] else (0, 2, 0, 2)
    out = torch.empty_like(crops)
    for q, step in enumerate(steps):
        chosen = (quarter == q).nonzero()[:, 0].to(crops.device)
        out[chosen] = torch.rot90(crops[chosen], step, (2, 3))
    return out


def _shifted(crops: torch.Tensor, reach: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Move each crop by up to `reach` pixels; what comes in is zero."""
    n, _, height, width = crops.shape
    padded = torch.nn.functional.pad(crops, (reach[1], reach[1], reach[0], reach[0]))
    top = torch.randint(2 * reach[0] + 1, (n,), generator=generator)
    left = torch.randint(2 * reach[1] + 1, (n,), generator=generator)
    rows = (top[:, None] + torch.arange(height)).to(crops.device)
    columns = (left[:, None] + torch.arange(width)).to(crops.device)
    index = torch.arange(n, device=crops.device)
    return padded[index[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
