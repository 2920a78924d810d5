"""Grey-level co-occurrence of all objects of a field at once (Haralick et al. 1973, as scikit-image computes it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

    from ._intensity import ObjectPixels

LEVELS = 16
TEXTURE_NAMES = ("contrast", "dissimilarity", "homogeneity", "energy", "entropy", "glcm_correlation")
# neighbour at distance 1 to the right, below, and on the two diagonals
OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))


def quantise(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as grey levels 0 .. LEVELS - 1 between `low` and `high`."""
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(LEVELS / (high - low))
    return np.clip(scaled, 0, LEVELS - 1).astype(np.int64)


class NeighbourPairs:
    """Pairs of neighbouring pixels that belong to the same object, in the four directions."""

    def __init__(self, labels: np.ndarray, pixels: ObjectPixels) -> None:
        # a frame of 0 on both sides keeps the right neighbour of the last column from being the next row
        width = labels.shape[1] + 2
        framed = np.pad(labels, 1).ravel()
        position = (pixels.y + 1) * width + pixels.x + 1
        order = np.full(len(framed), -1, dtype=np.int64)
        order[position] = np.arange(len(position))
        first, second = [], []
        for dy, dx in OFFSETS:
            neighbour = position + dy * width + dx
            same = np.flatnonzero(framed[neighbour] == framed[position])
            first.append(same)
            second.append(order[neighbour[same]])
        self.first, self.second = np.concatenate(first), np.concatenate(second)
        self.code = pixels.object[self.first].astype(np.int64) * LEVELS**2


def cooccurrence(levels: np.ndarray, pairs: NeighbourPairs, n_objects: int) -> FloatArray:
    """(n, LEVELS, LEVELS) symmetric, normalised matrices, directions added up; `levels` are those of `ObjectPixels`."""
    code = pairs.code + levels[pairs.first] * LEVELS + levels[pairs.second]
    counts = np.bincount(code, minlength=n_objects * LEVELS**2).reshape(n_objects, LEVELS, LEVELS)
    symmetric = (counts + counts.transpose(0, 2, 1)).astype(np.float64)
    return symmetric / np.maximum(symmetric.sum((1, 2), keepdims=True), 1)


def texture_features(matrices: FloatArray) -> FloatArray:
    """(n, len(TEXTURE_NAMES)) properties as scikit-image defines them; without pairs those of a flat object."""
    i, j = np.mgrid[:LEVELS, :LEVELS].astype(np.float64)
    flat = matrices.reshape(len(matrices), -1)
    difference = (i - j).ravel()
    contrast = flat @ difference**2
    dissimilarity = flat @ np.abs(difference)
    empty = flat.sum(1) == 0
    homogeneity = np.where(empty, 1.0, flat @ (1 / (1 + difference**2)))
    energy = np.where(empty, 1.0, np.sqrt((flat**2).sum(1)))
    entropy = -(flat * np.log(np.where(flat > 0, flat, 1.0))).sum(1)
    mean = flat @ i.ravel()
    variance = flat @ (i.ravel() ** 2) - mean**2
    covariance = flat @ (i * j).ravel() - mean**2
    varies = variance > 1e-15
    correlation = np.where(varies, covariance / np.where(varies, variance, 1.0), 1.0)
    return np.stack([contrast, dissimilarity, homogeneity, energy, entropy, correlation], axis=1)
