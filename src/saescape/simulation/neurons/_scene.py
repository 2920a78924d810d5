"""Light that a field gives off: stained cells with their concepts, before the optics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ._channels import CHANNEL_NAMES, DEATH, LYSOSOMES, MITOCHONDRIA, NEURITES, NUCLEI

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

    from ._anatomy import Anatomy
    from ._place import Placed

# grey levels of a motif before the blur, by channel; stains differ in contrast
MOTIF_LIGHT = {NUCLEI: 2600.0, NEURITES: 3400.0, MITOCHONDRIA: 3400.0, LYSOSOMES: 3600.0}
_STAIN_SD = 0.15
_MOTIF_SD = 0.2


def stain_cells(anatomy: Anatomy, n_cells: int, rng: np.random.Generator) -> FloatArray:
    """Grey levels `(C, Y, X)` of cells without concepts."""
    size = anatomy.labels.shape[0]
    stain = rng.lognormal(0, _STAIN_SD, (len(CHANNEL_NAMES), n_cells + 1)).astype(np.float32)
    stain[:, 0] = 1.0
    each = stain[:, anatomy.labels]
    light = np.zeros((len(CHANNEL_NAMES), size, size), np.float32)
    # chromatin: denser and less dense parts, with nucleoli left out
    chromatin = np.exp(0.16 * _bands(size, 1.0, 2.2, rng) + 0.14 * _bands(size, 2.5, 5.0, rng))
    nucleoli = _bands(size, 2.2, 6.0, rng) > 1.7
    chromatin *= 1 - 0.45 * ndimage.gaussian_filter(nucleoli.astype(np.float32), 0.8)
    light[NUCLEI] = 1500 * each[NUCLEI] * anatomy.nucleus * chromatin + 12 * anatomy.body

    depth = anatomy.body
    fibres = np.exp(0.30 * _bands(size, 0.8, 2.0, rng))
    light[NEURITES] = 260 * each[NEURITES] * np.minimum(depth, 5.0) ** 0.8 * fibres * (1 - 0.45 * anatomy.nucleus)
    light[NEURITES] += 170 * np.minimum(anatomy.axons, 2.0)

    near = np.exp(-ndimage.distance_transform_edt(anatomy.soma == 0).astype(np.float32) / 18.0)
    haze = np.minimum(depth, 7.0) * (0.25 + 0.75 * near) * (1 - 0.8 * anatomy.nucleus)
    light[MITOCHONDRIA] = 130 * each[MITOCHONDRIA] * haze * np.exp(0.38 * _bands(size, 1.0, 2.6, rng))
    light[LYSOSOMES] = 85 * each[LYSOSOMES] * haze * np.exp(0.30 * _bands(size, 1.2, 3.0, rng))
    light[DEATH] = 5 * np.minimum(depth, 8.0)
    # medium and autofluorescence
    light += 45.0
    return light


def add_motifs(light: FloatArray, placed: Placed, plane: IntArray, rng: np.random.Generator) -> None:
    """Add the motifs of one concept to the light `(C, Z, Y, X)`, each in its plane."""
    if len(placed.pixel) == 0:
        return
    strength = rng.lognormal(0, _MOTIF_SD, len(plane))
    n_channels, n_planes, *shape = light.shape
    level = np.array([MOTIF_LIGHT.get(c, 0.0) for c in range(n_channels)])
    value = placed.value * strength[placed.owner] * level[placed.channel]
    at = (placed.channel * n_planes + plane[placed.owner]) * (shape[0] * shape[1]) + placed.pixel
    np.add.at(light.reshape(-1), at, value.astype(light.dtype))


def _bands(size: int, fine: float, coarse: float, rng: np.random.Generator) -> FloatArray:
    """Noise with SD 1 of the sizes between two Gaussian scales."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    band = ndimage.gaussian_filter(white, fine, mode="wrap") - ndimage.gaussian_filter(white, coarse, mode="wrap")
    normed: FloatArray = band / band.std()
    return normed
