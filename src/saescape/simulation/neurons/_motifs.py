"""What concepts look like: small structures made of soft discs along points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ._channels import LYSOSOMES, MITOCHONDRIA, NEURITES, NUCLEI

if TYPE_CHECKING:
    from saescape._typing import FloatArray

Kind = Literal["puncta", "filament", "ring", "texture", "pair", "blob", "beads"]
Place = Literal["cytoplasm", "nucleus", "neurite"]
_N_BEADS = 4
_STEP = 0.5
# how many of each kind cells have, relative to one another: large ones are fewer
ABUNDANCE = {"puncta": 1.5, "filament": 0.8, "ring": 0.8, "texture": 0.6, "pair": 1.0, "blob": 0.6, "beads": 0.7}


@dataclass(frozen=True)
class Motif:
    """One structure. Lengths in pixels.

    `radius` is that of a disc or of a tube. `extent` is the length of a filament or of a chain of beads, the radius of
    a ring, the period of a texture, or the distance between the two discs of a pair. `bend` is the amplitude of a
    filament's waves.
    """

    kind: Kind
    channels: tuple[int, ...]
    place: Place
    radius: float
    extent: float = 0.0
    bend: float = 0.0


CATALOGUE = (
    Motif("puncta", (LYSOSOMES,), "cytoplasm", 1.3),
    Motif("filament", (MITOCHONDRIA,), "cytoplasm", 0.9, 13.0),
    Motif("ring", (LYSOSOMES,), "cytoplasm", 0.9, 3.4),
    Motif("texture", (NUCLEI,), "nucleus", 2.8, 3.6),
    Motif("pair", (MITOCHONDRIA, LYSOSOMES), "cytoplasm", 1.4, 3.6),
    Motif("blob", (NEURITES,), "cytoplasm", 2.1),
    Motif("puncta", (MITOCHONDRIA,), "cytoplasm", 2.0),
    Motif("beads", (NEURITES,), "neurite", 1.2, 9.0),
    Motif("filament", (MITOCHONDRIA,), "cytoplasm", 0.9, 14.0, 2.2),
    Motif("texture", (NUCLEI,), "nucleus", 3.5, 6.0),
    Motif("puncta", (LYSOSOMES,), "cytoplasm", 2.7),
    Motif("beads", (MITOCHONDRIA,), "cytoplasm", 1.1, 10.5),
    Motif("ring", (MITOCHONDRIA,), "cytoplasm", 0.9, 2.6),
    Motif("puncta", (NUCLEI,), "nucleus", 1.3),
    Motif("blob", (LYSOSOMES,), "cytoplasm", 2.4),
    Motif("pair", (NEURITES, LYSOSOMES), "cytoplasm", 1.4, 4.5),
    Motif("filament", (NEURITES,), "cytoplasm", 0.9, 10.0),
    Motif("puncta", (NEURITES,), "neurite", 1.4),
    Motif("ring", (NUCLEI,), "nucleus", 0.9, 3.0),
    Motif("filament", (LYSOSOMES,), "cytoplasm", 0.9, 8.0),
    Motif("ring", (NEURITES,), "cytoplasm", 0.9, 4.2),
    Motif("pair", (MITOCHONDRIA, LYSOSOMES), "cytoplasm", 1.8, 0.0),
    Motif("blob", (MITOCHONDRIA,), "cytoplasm", 2.8),
    Motif("beads", (LYSOSOMES,), "neurite", 1.1, 9.0),
)


def outlines(motif: Motif, n: int, rng: np.random.Generator) -> list[FloatArray]:
    """Points of `n` motifs at random orientation, per channel `(n, n_points, 2)`, around their middle."""
    if motif.kind in {"puncta", "texture"}:
        return [np.zeros((n, 1, 2))]
    if motif.kind == "ring":
        around = np.linspace(0, 2 * np.pi, int(np.ceil(2 * np.pi * motif.extent / _STEP)), endpoint=False)
        circle = motif.extent * np.stack([np.sin(around), np.cos(around)], axis=1)
        return [np.tile(circle, (n, 1, 1))]
    if motif.kind == "blob":
        # lobes of one outline, all overlapping
        lobe = rng.uniform(0, 2 * np.pi, (n, 1)) + 2 * np.pi / 3 * np.arange(3) + rng.normal(0, 0.3, (n, 3))
        return [(motif.radius * 0.7) * np.stack([np.sin(lobe), np.cos(lobe)], axis=2)]
    if motif.kind == "pair":
        ends = np.array([[0.0, -motif.extent / 2], [0.0, motif.extent / 2]])
        turned = _turned(np.tile(ends, (n, 1, 1)), rng)
        return [turned[:, :1], turned[:, 1:]]
    if motif.kind == "beads":
        along = np.linspace(-0.5, 0.5, _N_BEADS) * motif.extent
        return [_turned(np.tile(np.stack([np.zeros(_N_BEADS), along], axis=1), (n, 1, 1)), rng)]
    along = np.linspace(-0.5, 0.5, int(motif.extent / _STEP) + 1) * motif.extent
    # an arc, with waves when it is tortuous
    arc = rng.uniform(-0.02, 0.02, (n, 1)) * along**2
    across = arc + motif.bend * np.sin(2 * np.pi * along / 9.0 + rng.uniform(0, 2 * np.pi, (n, 1)))
    return [_turned(np.stack([across, np.tile(along, (n, 1))], axis=2), rng)]


def spine(motif: Motif, points: list[FloatArray]) -> FloatArray:
    """Points whose discs make the mask of one motif: its discs, and what lies between separate ones."""
    joined = np.concatenate(points)
    if motif.kind in {"pair", "beads"}:
        share = np.linspace(0, 1, max(2, int(motif.extent / _STEP)))[:, None]
        return joined[0] + share * (joined[-1] - joined[0])
    return joined


def shade(motif: Motif, pixels: FloatArray, points: list[FloatArray], angle: float) -> list[FloatArray]:
    """Brightness in [0, 1] at `pixels` `(n, 2)` for each channel of the motif: soft discs around its points."""
    shades = []
    for own in points:
        value = np.clip(motif.radius + 0.5 - distance(pixels, own), 0, 1)
        if motif.kind == "texture":
            along = pixels @ np.array([np.sin(angle), np.cos(angle)])
            value = value * (0.55 + 0.45 * np.cos(2 * np.pi * along / motif.extent))
        shades.append(value)
    return shades


def distance(pixels: FloatArray, points: FloatArray) -> FloatArray:
    """Distance of each of the pixels `(n, 2)` to the nearest of the points."""
    down = pixels[:, :1] - points[:, 0]
    right = pixels[:, 1:] - points[:, 1]
    nearest: FloatArray = np.sqrt((down * down + right * right).min(1))
    return nearest


def _turned(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    angle = rng.uniform(0, 2 * np.pi, (len(points), 1))
    y, x = points[..., 0], points[..., 1]
    return np.stack([y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)], axis=2)
