"""A fixed filter bank: the local jet of Gaussian derivatives, averaged over a grid of positions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGMAS = (1, 2, 4)
FILTERS = ("gradient", "bright", "dark", "ridge")
GRID = 8
# kernels reach this many sigmas, as in scipy.ndimage
_TRUNCATE = 4.0
_CACHED_VALUES = 2**16


def filter_names(channels: Sequence[str]) -> list[str]:
    """Names of the dimensions of :class:`FilterBank`."""
    per_channel = ["intensity", *(f"{name}_s{sigma}" for sigma in SIGMAS for name in FILTERS)]
    return [f"{channel}_{name}" for channel in channels for name in per_channel]


@lru_cache(maxsize=32)
def derivative_matrix(size: int, sigma: float, order: int) -> torch.Tensor:
    """(size, size) matrix that filters a signal with a sampled Gaussian derivative, mirrored at its ends.

    Times sigma ** order, so that responses at different scales compare (Lindeberg 1998, gamma = 1).
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    offset = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (offset / sigma) ** 2)
    gaussian /= gaussian.sum()
    polynomial = {0: np.ones(len(offset)), 1: offset / sigma, 2: (offset / sigma) ** 2 - 1}[order]
    kernel = gaussian * polynomial
    if order == 2:
        # the sampled second derivative must not respond to a constant
        kernel -= gaussian * kernel.sum()
    # half-sample mirror: ... b a | a b c ... , repeated for kernels longer than the signal
    source = np.arange(size)[:, None] + offset
    source = np.mod(source, 2 * size)
    source = np.where(source >= size, 2 * size - 1 - source, source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.broadcast_to(np.arange(size)[:, None], source.shape), source), kernel)
    return torch.from_numpy(matrix.astype(np.float32))


class FilterBank:
    """Maps (n, C, h, w) crops to (n, C * 13, grid, grid) averages of rotation-invariant filter responses.

    Per channel: the intensity and, at sigma 1, 2 and 4 pixels, the gradient magnitude, the bright and the dark part
    of the Laplacian (blobs) and the difference of the eigenvalues of the Hessian (ridges). Nothing is learned.
    """

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """Filter a batch; every channel of every crop is treated alone."""
        n_crops, n_channels, height, width = crops.shape
        planes = crops.reshape(-1, height, width)
        # few planes at a time, so that what is computed in between stays in the processor's cache
        size = max(1, _CACHED_VALUES // (height * width)) if crops.device.type == "cpu" else len(planes)
        pooled = torch.cat([_responses(part) for part in planes.split(size)])
        return pooled.reshape(n_crops, n_channels * pooled.shape[1], *pooled.shape[2:])


def _responses(planes: torch.Tensor) -> torch.Tensor:
    """(n, 13, grid, grid) averaged responses of (n, h, w) planes."""
    height, width = planes.shape[-2:]
    grid = (min(GRID, height), min(GRID, width))
    pooled = [adaptive_avg_pool2d(planes, grid)]
    for sigma in SIGMAS:
        along_y = [derivative_matrix(height, float(sigma), order).to(planes.device) for order in range(3)]
        along_x = [derivative_matrix(width, float(sigma), order).T.to(planes.device) for order in range(3)]
        smooth_x, first_x, second_x = (planes @ matrix for matrix in along_x)
        dx, dy = along_y[0] @ first_x, along_y[1] @ smooth_x
        dxx, dyy, dxy = along_y[0] @ second_x, along_y[2] @ smooth_x, along_y[1] @ first_x
        blob = dxx + dyy
        maps = [torch.hypot(dx, dy), torch.relu(-blob), torch.relu(blob), torch.hypot(dxx - dyy, 2 * dxy)]
        pooled += [adaptive_avg_pool2d(one, grid) for one in maps]
    return torch.stack(pooled, dim=1)
