"""Cells of a field: soma, nucleus, neurites, and the masks made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ._neurites import grow_neurites, stamp_tubes, walk_paths

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# neurites count as part of the cell's mask up to here, pixels from where they leave the soma
_PROXIMAL = 30.0
_NEURITE_LENGTH = 90.0


@dataclass(frozen=True)
class Anatomy:
    """Masks `(Y, X)` with ids 1..n (0: none), and thickness of bodies, nuclei and neurites in pixels.

    `labels` are whole cells with their proximal neurites, `somata` and `nuclei` parts of them.
    """

    labels: IntArray
    somata: IntArray
    nuclei: IntArray
    body: FloatArray
    soma: FloatArray
    nucleus: FloatArray
    axons: FloatArray


def build_anatomy(centres: FloatArray, size: int, rng: np.random.Generator) -> Anatomy:
    """Draw the cells around `centres` `(n, 2)` and settle which cell a pixel belongs to: the thickest there."""
    shape = (size, size)
    body, soma = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    nucleus, axons = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    labels, somata, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    thickest = np.zeros(shape, np.float32)
    for i, centre in enumerate(centres, start=1):
        radius = rng.uniform(18.0, 23.0)
        n_neurites = int(rng.integers(3, 6))
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(n_neurites) / n_neurites
        angles = rng.permutation(angles + rng.normal(0, 0.35, n_neurites))
        own_soma, own_nucleus = _soma_and_nucleus(centre, radius, angles, size, rng)
        walk = grow_neurites(centre, radius, angles, _NEURITE_LENGTH, rng)
        tree, near = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        stamp_tubes(tree, walk.position, walk.radius)
        proximal = walk.distance <= _PROXIMAL
        stamp_tubes(near, walk.position[proximal], walk.radius[proximal])
        thickness = np.maximum(own_soma, near)
        # tubes thinner than about two pixels are not segmented
        wins = (thickness > thickest) & ((own_soma > 0) | (near > 1.0))
        labels[wins], thickest[wins] = i, thickness[wins]
        somata[wins] = np.where(own_soma[wins] > 0, i, 0)
        nuclei[wins] = np.where(own_nucleus[wins] > 0, i, 0)
        np.maximum(body, np.maximum(own_soma, tree), out=body)
        np.maximum(soma, own_soma, out=soma)
        np.maximum(nucleus, own_nucleus, out=nucleus)
    _keep_connected(labels, centres)
    nuclei[labels != nuclei] = 0
    somata[labels != somata] = 0
    _passing_axons(axons, max(2, size // 80), rng)
    return Anatomy(labels, somata, nuclei, body, soma, nucleus, axons)


def _soma_and_nucleus(
    centre: FloatArray, radius: float, angles: FloatArray, size: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Half thickness of a rounded soma drawn out towards its neurites, and of the nucleus in it."""
    wave = np.arange(2, 5)
    bumps = rng.normal(0, 0.05, 3), rng.uniform(0, 2 * np.pi, 3)
    pull = np.where(np.arange(len(angles)) < 2, rng.uniform(4.0, 8.0, len(angles)), rng.uniform(0.0, 3.0, len(angles)))
    nucleus_radius = radius * rng.uniform(0.47, 0.54)
    nucleus_centre = centre + rng.normal(0, 0.1 * radius, 2)
    dents, squeeze, tilt = rng.normal(0, 0.025, 3), rng.uniform(0.0, 0.12), rng.uniform(0, 2 * np.pi)

    rows, columns = np.ogrid[:size, :size]
    lower = np.maximum(np.floor(centre - 2 * radius).astype(int), 0)
    upper = np.minimum(np.ceil(centre + 2 * radius).astype(int) + 1, size)
    window = (slice(lower[0], upper[0]), slice(lower[1], upper[1]))

    y, x = rows[window[0]] - centre[0], columns[:, window[1]] - centre[1]
    theta = np.arctan2(y, x)[..., None]
    edge = radius * (0.9 + (bumps[0] * np.cos(wave * theta + bumps[1])).sum(-1))
    edge = edge + (pull * np.exp(8.0 * (np.cos(theta - angles) - 1))).sum(-1)
    soma = np.zeros((size, size), np.float32)
    soma[window] = 0.5 * radius * np.sqrt(np.maximum(1 - (np.hypot(y, x) / edge) ** 2, 0))

    y, x = rows[window[0]] - nucleus_centre[0], columns[:, window[1]] - nucleus_centre[1]
    theta = np.arctan2(y, x)
    edge = nucleus_radius * (1 + squeeze * np.cos(2 * (theta - tilt)))
    edge = edge * (1 + (dents * np.cos(wave * (theta[..., None] - tilt))).sum(-1))
    nucleus = np.zeros((size, size), np.float32)
    nucleus[window] = np.sqrt(np.maximum(1 - (np.hypot(y, x) / edge) ** 4, 0))
    return soma, np.where(soma > 0, nucleus, 0)


def _keep_connected(labels: IntArray, centres: FloatArray) -> None:
    """Clear the parts of a cell that another cell has cut off from its soma."""
    for i, box in enumerate(ndimage.find_objects(labels, max_label=len(centres)), start=1):
        own = labels[box] == i
        parts, n_parts = ndimage.label(own, np.ones((3, 3)))
        if n_parts > 1:
            main = int(np.bincount(parts[own]).argmax())
            labels[box][own & (parts != main)] = 0


def _passing_axons(canvas: FloatArray, n: int, rng: np.random.Generator) -> None:
    """Thin axons of cells outside the field."""
    size = len(canvas)
    start = rng.uniform(0, size, (n, 2))
    # they enter at one of the two left or upper edges, or the two others
    side = rng.integers(4, size=n)
    start[np.arange(n), side % 2] = np.where(side < 2, 0, size - 1)
    inward = np.array([np.pi / 2, 0.0, -np.pi / 2, np.pi])[side]
    path, _ = walk_paths(start, inward + rng.uniform(-0.9, 0.9, n), int(1.3 * size), 0.02, rng)
    stamp_tubes(canvas, path.reshape(-1, 2), np.full(path.shape[0] * path.shape[1], 0.6))
