"""Put the motifs of a concept into cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._motifs import distance, outlines, shade, spine

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._anatomy import Anatomy
    from ._motifs import Motif

_TRIES_PER_MOTIF = 40
# a motif keeps this far from others of its concept, pixels
_GAP = 1.5


@dataclass(frozen=True)
class Placed:
    """Motifs of one concept in one field.

    `counts` `(n_cells,)` are those that found room, `mask` `(Y, X)` where they are. The other arrays have one entry per
    lit pixel and channel: channel, flat index of the pixel, brightness in [0, 1], and number of the motif. `site` is
    the flat index of the middle of each motif.
    """

    counts: IntArray
    mask: BoolArray
    site: IntArray
    channel: IntArray
    pixel: IntArray
    value: FloatArray
    owner: IntArray


def room_for(motif: Motif, anatomy: Anatomy) -> IntArray:
    """Ids of the cells where the motif may lie, 0 elsewhere. What is in the cytoplasm also lies above the nucleus."""
    return anatomy.nuclei if motif.place == "nucleus" else anatomy.labels


def middles_for(motif: Motif, anatomy: Anatomy) -> IntArray:
    """Ids of the cells where the middle of the motif may lie, 0 elsewhere."""
    if motif.place == "nucleus":
        return anatomy.nuclei
    if motif.place == "neurite":
        return np.where(anatomy.somata == 0, anatomy.labels, 0)
    return np.where(anatomy.nuclei == 0, anatomy.labels, 0)


def place(motif: Motif, wanted: IntArray, anatomy: Anatomy, free: FloatArray, rng: np.random.Generator) -> Placed:
    """Place up to `wanted` motifs in each cell, wholly inside, and not touching another of the same concept.

    `free` is the distance of each pixel to the nearest one without `room_for` the motif. Positions are tried at random;
    a cell that has no room for more gets fewer.
    """
    room = room_for(motif, anatomy)
    shape = np.array(room.shape)
    flat_room, flat_free = room.ravel(), free.ravel()
    flat_taken, flat_mask = np.zeros(room.size, bool), np.zeros(room.size, bool)
    counts = np.zeros(len(wanted), int)
    strokes: list[tuple[int, IntArray, FloatArray, int]] = []
    middles: list[int] = []
    origin = middles_for(motif, anatomy).ravel()
    by_cell = np.argsort(origin, kind="stable")
    first = np.searchsorted(origin[by_cell], np.arange(1, len(wanted) + 2))
    for i, n in enumerate(wanted):
        sites = by_cell[first[i] : first[i + 1]]
        # cheap conditions for all tries at once, exact ones below for one after the other
        sites = sites[flat_free[sites] >= 1.0] if n else sites[:0]
        if len(sites) == 0:
            continue
        n_tries = _TRIES_PER_MOTIF * int(n)
        site = sites[rng.integers(len(sites), size=n_tries)]
        middle = np.stack(np.unravel_index(site, room.shape), axis=1) + rng.uniform(-0.5, 0.5, (n_tries, 2))
        points = outlines(motif, n_tries, rng)
        angles = rng.uniform(0, np.pi, n_tries)
        around = np.rint(np.concatenate(points, axis=1) + middle[:, None]).astype(int)
        inside = ((around >= 0) & (around < shape)).all((1, 2))
        around = np.clip(around, 0, shape - 1) @ np.array([shape[1], 1])
        roomy = (flat_room[around] == i + 1) & (flat_free[around] >= motif.radius - 0.5)
        for k in np.flatnonzero(inside & roomy.all(1)):
            if flat_taken[around[k]].any():
                continue
            own = [channel[k] for channel in points]
            line = spine(motif, own)
            pixels = _window(line + middle[k], motif.radius + 2.5, shape)
            relative = pixels - middle[k]
            away = distance(relative, line)
            core = pixels[away <= max(motif.radius, 0.75)]
            flat = core[:, 0] * shape[1] + core[:, 1]
            if (flat_room[flat] != i + 1).any() or flat_taken[flat].any():
                continue
            flat_mask[flat] = True
            near = pixels[away <= motif.radius + _GAP]
            flat_taken[near[:, 0] * shape[1] + near[:, 1]] = True
            for channel, value in zip(motif.channels, shade(motif, relative, own, angles[k]), strict=True):
                lit = value > 0
                strokes.append((channel, pixels[lit, 0] * shape[1] + pixels[lit, 1], value[lit], len(middles)))
            middles.append(int(site[k]))
            counts[i] += 1
            if counts[i] == n:
                break
    return Placed(counts, flat_mask.reshape(room.shape), np.array(middles, int), *_joined(strokes))


def _window(line: FloatArray, reach: float, shape: IntArray) -> IntArray:
    """Pixels `(n, 2)` of the box around the points, inside the image."""
    low = np.maximum(np.floor(line.min(0) - reach).astype(int), 0)
    high = np.minimum(np.ceil(line.max(0) + reach).astype(int) + 1, shape)
    rows, columns = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    return np.column_stack([np.repeat(rows, len(columns)), np.tile(columns, len(rows))])


def _joined(strokes: list[tuple[int, IntArray, FloatArray, int]]) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    if not strokes:
        none = np.zeros(0, int)
        return none, none, np.zeros(0), none
    sizes = [len(pixel) for _, pixel, _, _ in strokes]
    channel = np.repeat([stroke[0] for stroke in strokes], sizes)
    owner = np.repeat([stroke[3] for stroke in strokes], sizes)
    pixel, value = np.concatenate([s[1] for s in strokes]), np.concatenate([s[2] for s in strokes])
    return channel, pixel, value, owner
