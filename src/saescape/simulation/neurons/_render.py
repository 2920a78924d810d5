"""One field of view, from where its cells lie to the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ._anatomy import build_anatomy
from ._channels import DEATH
from ._death import death_light
from ._optics import expose
from ._place import place
from ._scene import add_motifs, stain_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._motifs import Motif
    from ._optics import Optics

# planes; how thick cells are, and how much the culture bends
_CELL_DEPTH = 0.8
_BEND = 0.6


@dataclass(frozen=True)
class Rendered:
    """`image` `(C, Y, X)` or `(C, Z, Y, X)`; ids `labels`, `nuclei`; `masks` `(n_concepts, Y, X)`.

    `counts` `(n_cells, n_concepts)` are the motifs that found room.
    """

    image: IntArray
    labels: IntArray
    nuclei: IntArray
    masks: BoolArray
    counts: IntArray


def render_field(
    centres: FloatArray,
    wanted: IntArray,
    death: FloatArray,
    motifs: Sequence[Motif],
    optics: Optics,
    gain: FloatArray,
    offset: FloatArray,
    noise: float,
    *,
    rng: np.random.Generator,
) -> Rendered:
    """Draw cells at `centres` with `wanted` `(n_cells, n_concepts)` motifs and the share `death` of dyed nucleus."""
    # each part draws from its own stream, so that one setting does not change what another part draws
    bodies, stains, motif_rng, depths, dye, camera = rng.spawn(6)
    size = optics.shading.shape[-1]
    anatomy = build_anatomy(centres, size, bodies)
    weights = _depth_weights(optics.n_planes, size, depths)
    light = stain_cells(anatomy, len(centres), stains)[:, None] * weights
    masks = np.zeros((len(motifs), size, size), bool)
    counts = np.zeros_like(wanted)
    free_nucleus = ndimage.distance_transform_edt(anatomy.nuclei > 0)
    free_cell = ndimage.distance_transform_edt(anatomy.labels > 0)
    for k, (motif, placing) in enumerate(zip(motifs, motif_rng.spawn(len(motifs)), strict=True)):
        free = free_nucleus if motif.place == "nucleus" else free_cell
        placed = place(motif, wanted[:, k], anatomy, free, placing)
        masks[k], counts[:, k] = placed.mask, placed.counts
        cumulative = np.cumsum(weights.reshape(optics.n_planes, -1)[:, placed.site], axis=0)
        plane = (depths.random(len(placed.site)) > cumulative).sum(0).clip(max=optics.n_planes - 1)
        add_motifs(light, placed, plane, placing)

    seen = np.stack([optics.image(light[c], c) for c in range(len(light))])

    def seen_dye(fill: FloatArray) -> FloatArray:
        projected: FloatArray = optics.image(fill * weights, DEATH).max(0)
        return projected

    fill = death_light(anatomy.nuclei, death, seen[DEATH].max(0), seen_dye, dye)
    seen[DEATH] += optics.image(fill * weights, DEATH)
    image = expose(seen * optics.shading[:, None], gain, offset, noise, camera)
    return Rendered(image[:, 0] if optics.n_planes == 1 else image, anatomy.labels, anatomy.nuclei, masks, counts)


def _depth_weights(n_planes: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Share of the cells' substance in each plane `(Z, Y, X)`: they lie around a slightly bent sheet."""
    if n_planes == 1:
        return np.ones((1, 1, 1), np.float32) * np.ones((1, size, size), np.float32)
    bend = ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 4, mode="nearest")
    height = (n_planes - 1) / 2 + _BEND * bend / bend.std()
    plane = np.arange(n_planes)[:, None, None]
    weights = np.exp(-((plane - height) ** 2) / (2 * _CELL_DEPTH**2)) + 1e-6
    normed: FloatArray = (weights / weights.sum(0)).astype(np.float32)
    return normed
