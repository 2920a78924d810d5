"""Nuclei that a death dye fills to a known share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._typing import FloatArray, IntArray

# grey levels above the camera's offset, in focus and without plate effects
DEATH_THRESHOLD = 900.0


def death_light(
    nuclei: IntArray,
    share: FloatArray,
    base: FloatArray,
    optics: Callable[[FloatArray], FloatArray],
    rng: np.random.Generator,
) -> FloatArray:
    """Light `(Y, X)` of a dye that, seen through `optics`, is at or above the threshold in `share` of each nucleus.

    `base` `(Y, X)` is what is seen without the dye. The dye fills a part of the nucleus drawn at random, whose
    brightness is then set so that the pixels above the threshold are as many as the share asks for.
    """
    size = len(nuclei)
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), 4.0, mode="wrap")
    fill = np.zeros(nuclei.shape, np.float32)
    boxes = ndimage.find_objects(nuclei, max_label=len(share))
    pad = 4
    targets = []
    for i, (box, part) in enumerate(zip(boxes, share, strict=True), start=1):
        if box is None:
            continue
        own = nuclei[box] == i
        n = round(float(part) * int(own.sum()))
        if n == 0:
            continue
        around = tuple(slice(max(s.start - pad, 0), s.stop + pad) for s in box)
        nucleus = nuclei[around] == i
        # what is filled has a smooth outline; a little beyond the nucleus, so that its edge is not dark
        room = ndimage.binary_dilation(nucleus, iterations=2)
        level = np.sort(field[around][nucleus])[-n]
        filled = room & (field[around] >= level)
        inner = ndimage.distance_transform_edt(np.pad(filled, 1))[1:-1, 1:-1] > 1.5
        core = inner if (inner & nucleus).any() else filled & nucleus
        fill[around][core] = 1.0
        targets.append((i, around, n))
    seen = optics(fill)
    light = np.zeros(nuclei.shape, np.float32)
    for i, around, n in targets:
        nucleus = nuclei[around] == i
        at_level = max(float(np.sort(seen[around][nucleus])[-n]), 1e-3)
        needed = DEATH_THRESHOLD - float(base[around][nucleus].mean())
        room = ndimage.binary_dilation(nucleus, iterations=2)
        light[around][room] = (fill[around] * (needed / at_level))[room]
    return light
