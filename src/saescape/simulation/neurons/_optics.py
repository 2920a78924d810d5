"""From objects in space to pixels of a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

CAMERA_OFFSET = 200.0
READ_NOISE = 12.0
# grey levels per photo-electron
_CONVERSION = 8.0
_FEW_ELECTRONS = 20.0
# pixels of blur per plane out of focus
_DEFOCUS = 1.6


@dataclass(frozen=True)
class Optics:
    """`sigma` per channel of the blur in focus; `n_planes` of the stack; `shading` `(C, Y, X)`, 1 in the middle."""

    sigma: FloatArray
    n_planes: int
    shading: FloatArray

    def image(self, objects: FloatArray, channel: int) -> FloatArray:
        """Blur of the objects of one channel `(Z, Y, X)`, each plane with what lies out of focus."""
        planes = np.zeros_like(objects)
        for source in range(self.n_planes):
            if not objects[source].any():
                continue
            for away in range(self.n_planes):
                targets = {source - away, source + away} & set(range(self.n_planes))
                if targets:
                    blurred = self.blur(objects[source], channel, away)
                    for target in targets:
                        planes[target] += blurred
        return planes

    def blur(self, plane: FloatArray, channel: int, away: int = 0) -> FloatArray:
        """Gaussian blur of a plane seen `away` planes out of focus."""
        sigma = np.hypot(self.sigma[channel], _DEFOCUS * away)
        blurred: FloatArray = ndimage.gaussian_filter(plane, sigma, truncate=3.5) if sigma > 0 else plane
        return blurred


def shading_field(n_channels: int, size: int, strength: float, rng: np.random.Generator) -> FloatArray:
    """Illumination `(C, Y, X)`: falls off by `strength` from a centre, near the middle, to the farthest corner."""
    grid = np.moveaxis(np.indices((size, size)), 0, -1) / size - 0.5
    centre = rng.normal(0, 0.08, (n_channels, 1, 1, 2))
    squared = ((grid - centre) ** 2).sum(-1)
    shading: FloatArray = (1 - strength * squared / squared.max((1, 2), keepdims=True)).astype(np.float32)
    return shading


def expose(light: FloatArray, gain: FloatArray, offset: FloatArray, noise: float, rng: np.random.Generator) -> IntArray:
    """Camera: `gain` and `offset` per channel (first axis), photon and read noise (`noise` times as much), uint16."""
    per_channel = (-1,) + (1,) * (light.ndim - 1)
    expected = light * gain.reshape(per_channel).astype(np.float32)
    signal = expected
    if noise > 0:
        electrons = expected / (_CONVERSION * noise**2)
        counted = electrons + np.sqrt(electrons) * rng.standard_normal(light.shape, dtype=np.float32)
        # Poisson numbers are close to Gaussian, and quicker to draw so, where they are large
        few = electrons < _FEW_ELECTRONS
        counted[few] = rng.poisson(electrons[few])
        signal = counted * np.float32(_CONVERSION * noise**2)
        signal += np.float32(noise * READ_NOISE) * rng.standard_normal(light.shape, dtype=np.float32)
    signal = signal + CAMERA_OFFSET + offset.reshape(per_channel)
    return np.clip(np.rint(signal), 0, 65535).astype(np.uint16)
