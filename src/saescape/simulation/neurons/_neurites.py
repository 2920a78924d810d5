"""Branching neurites as random walks with persistence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from saescape._typing import FloatArray

_GENERATIONS = 3
_SMOOTH = 5.0


@dataclass(frozen=True)
class Walk:
    """Points of neurites: position (row, column), radius, and distance from the soma along the neurite, in pixels."""

    position: FloatArray
    radius: FloatArray
    distance: FloatArray


def walk_paths(start: FloatArray, angle: FloatArray, n_steps: int, wiggle: float, rng: np.random.Generator) -> tuple:
    """Positions `(n, n_steps, 2)` and directions `(n, n_steps)` of walks of unit steps that keep their direction."""
    turn = ndimage.gaussian_filter1d(rng.standard_normal((len(start), n_steps)), _SMOOTH, axis=1, mode="nearest")
    heading = angle[:, None] + wiggle * np.sqrt(2 * _SMOOTH) * np.cumsum(turn, axis=1)
    step = np.stack([np.sin(heading), np.cos(heading)], axis=2)
    return start[:, None] + np.cumsum(step, axis=1), heading


def grow_neurites(
    centre: FloatArray, soma_radius: float, angles: FloatArray, length: float, rng: np.random.Generator
) -> Walk:
    """Neurites of one cell that leave the soma in the directions `angles`, taper and branch."""
    outward = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    start = centre + 0.7 * soma_radius * outward
    angle = angles + rng.normal(0, 0.15, len(angles))
    lengths = length * rng.gamma(6.0, 1 / 6, len(angles))
    # one neurite, the axon, is the longest
    lengths[0] *= 1.8
    width = rng.uniform(1.6, 2.6, len(angles))
    before = np.zeros(len(angles))
    positions, radii, distances = [], [], []
    for generation in range(_GENERATIONS):
        n_steps = max(2, int(np.ceil(lengths.max())))
        path, heading = walk_paths(start, angle, n_steps, 0.045, rng)
        s = np.arange(1, n_steps + 1)
        share = s / lengths[:, None]
        radius = np.maximum(width[:, None] * (1 - 0.65 * share), 0.5)
        if generation == 0:
            radius = radius + 3.0 * np.exp(-s / 6.0)
        alive = share <= 1
        positions.append(path[alive])
        radii.append(radius[alive])
        distances.append((before[:, None] + s)[alive])
        parent = np.repeat(np.arange(len(lengths)), rng.poisson(lengths / 75.0))
        if len(parent) == 0:
            break
        at = np.minimum((rng.uniform(0.15, 0.85, len(parent)) * lengths[parent]).astype(int), n_steps - 1)
        start = path[parent, at]
        angle = heading[parent, at] + rng.choice([-1, 1], len(parent)) * rng.uniform(0.4, 1.0, len(parent))
        width = 0.75 * radius[parent, at].clip(0.5, 2.0)
        before = before[parent] + at
        lengths = np.maximum((lengths[parent] - at) * rng.uniform(0.4, 0.9, len(parent)), 4.0)
    return Walk(np.concatenate(positions), np.concatenate(radii), np.concatenate(distances))


def stamp_tubes(canvas: FloatArray, position: FloatArray, radius: FloatArray) -> None:
    """Raise `canvas` to the half thickness of round tubes around the points; outside points are left out."""
    size = np.array(canvas.shape)
    for thick in (False, True):
        chosen = (radius > 2.0) == thick
        if not chosen.any():
            continue
        points, r = position[chosen], radius[chosen].astype(np.float32)
        reach = int(np.ceil(r.max())) + 1
        offset = np.moveaxis(np.indices((2 * reach + 1, 2 * reach + 1)), 0, -1).reshape(-1, 2) - reach
        pixel = np.rint(points).astype(int)[:, None] + offset
        squared = ((pixel - points[:, None]) ** 2).sum(2)
        # half a pixel more, as a camera sees a thin tube
        value = np.sqrt(np.maximum((r[:, None] + 0.5) ** 2 - squared, 0)).astype(canvas.dtype)
        keep = (value > 0) & ((pixel >= 0) & (pixel < size)).all(2)
        np.maximum.at(canvas, (pixel[..., 0][keep], pixel[..., 1][keep]), value[keep])
