"""Maps drawn over crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

_STRONGEST = 0.65
# the colormap from here on: its first colours are as dark as the background of a fluorescence image
_DARKEST = 0.25


def overlay(pictures: np.ndarray, maps: FloatArray, highest: float) -> np.ndarray:
    """Maps `(n, h', w')` between 0 and `highest` in colour over grey crops `(n, h, w, 3)` uint8."""
    import matplotlib as mpl

    n, height, width = pictures.shape[:3]
    row = np.arange(height) * maps.shape[1] // height
    column = np.arange(width) * maps.shape[2] // width
    strength = np.clip(maps / max(highest, 1e-30), 0, 1)[:, row[:, None], column[None]]
    grey = pictures.astype(np.float64).mean(-1, keepdims=True) / 255
    level = _DARKEST + (1 - _DARKEST) * strength.reshape(n, -1)
    color = mpl.colormaps["inferno"](level)[..., :3].reshape(n, height, width, 3)
    # the square root lets weak activations show
    weight = _STRONGEST * np.sqrt(strength)[..., None]
    return ((grey * (1 - weight) + color * weight) * 255).round().astype(np.uint8)
