"""Unrelated clouds that look like the data, for refitted nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

_N_FEATURES = 400
# axes that are made anew as smooth functions of the cells; the variances beyond them are noise
_N_SMOOTH = 20
# mean kernel of two cells: the share of the pairs that stay together. Below, clusters and branches break up; above, the
# functions are nearly linear and the arrangement stays what it was
_TOGETHER = (0.05, 0.15)
# SD of the logarithm of the density's change
_DENSITY_SD = 0.7
_N_PARTNERS = 5
_N_PAIRS = 2000


def smooth_images(views: Sequence[FloatArray], rng: np.random.Generator) -> tuple[list[FloatArray], IntArray]:
    """Map the cells by a random smooth function and draw their density anew, all views `(n, d_v)` alike.

    Neighbours stay neighbours: clusters stay clusters and branches stay branches. How they lie to each other, how
    long they are and how many cells they have is chance; the variances along the principal axes are those of the
    data. The function is a draw of a Gaussian process with squared-exponential kernel, by random Fourier features
    (Rahimi & Recht 2007).

    Returns the images and the cell `(n,)` that each row is the image of.
    """
    together, seed = rng.uniform(*_TOGETHER), int(rng.integers(2**63 - 1))
    first = centred(views[0])
    density = _random_functions(first, 1, _length_scale(first, together), rng)[:, 0]
    density = np.exp(_DENSITY_SD * (density - density.mean()) / max(float(density.std()), 1e-12))
    cell, partner, share = _drawn_cells(first, density, rng)
    moved = [x[cell] + share[:, None] * (x[partner] - x[cell]) for x in map(centred, views)]
    return _images(views, moved, together, seed), cell


def smooth_images_in_place(views: Sequence[FloatArray], rng: np.random.Generator) -> list[FloatArray]:
    """As `smooth_images` with the density as it is: row i is the image of cell i.

    What was measured on a cell can be carried over by a coupling with its image.
    """
    together, seed = rng.uniform(*_TOGETHER), int(rng.integers(2**63 - 1))
    return _images(views, [centred(view) for view in views], together, seed)


def _images(views: Sequence[FloatArray], moved: Sequence[FloatArray], together: float, seed: int) -> list[FloatArray]:
    """Values of one random function at the points `moved` of each view."""
    images = []
    for x, points in zip(map(centred, views), moved, strict=True):
        # one state of the generator: the same function for all views
        images.append(_smooth_image(x, points, _length_scale(x, together), np.random.default_rng(seed)))
    return images


def gaussian_cloud(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw as many points from the normal distribution with the mean and the covariance of the data."""
    mean = np.asarray(x, np.float64).mean(0)
    _, size, axes = np.linalg.svd(x - mean, full_matrices=False)
    return mean + rng.normal(size=(len(x), len(size))) * size / np.sqrt(len(x)) @ axes


def _smooth_image(x: FloatArray, moved: FloatArray, length: float, rng: np.random.Generator) -> FloatArray:
    """Values of random functions at `moved`, with the singular values of `x`."""
    size = np.linalg.svd(x, compute_uv=False)
    leading = size[: min(_N_SMOOTH, int(np.sum(size > 1e-6 * size[0])))]
    values = _random_functions(moved, len(leading), length, rng)
    values -= values.mean(0)
    axes = np.linalg.svd(values, full_matrices=False)[0]
    noise = rng.normal(size=(len(x), len(size) - len(leading))) * size[len(leading) :] / np.sqrt(len(x))
    return np.concatenate([axes[:, : len(leading)] * leading, noise], 1)


def _random_functions(x: FloatArray, n_functions: int, length: float, rng: np.random.Generator) -> FloatArray:
    frequency = rng.normal(size=(x.shape[1], _N_FEATURES)) / length
    features = np.cos(x @ frequency + rng.uniform(0, 2 * np.pi, _N_FEATURES))
    return features @ rng.normal(size=(_N_FEATURES, n_functions)) * np.sqrt(2 / _N_FEATURES)


def _length_scale(x: FloatArray, together: float) -> float:
    """Length scale at which the mean kernel of two different cells is `together`, by bisection."""
    i, k = np.random.default_rng(0).integers(len(x), size=(2, _N_PAIRS))
    squares = ((x[i] - x[k]) ** 2).sum(1)
    squares = squares[squares > 0]
    if len(squares) == 0:
        return 1.0
    low, high = 0.5 * np.log(squares.max()) - 7, 0.5 * np.log(squares.max()) + 3
    for _ in range(30):
        middle = (low + high) / 2
        if np.exp(-squares / (2 * np.exp(2 * middle))).mean() < together:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def _drawn_cells(
    x: FloatArray, density: FloatArray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, FloatArray]:
    """As many cells as there are, drawn in proportion to `density`, and a point on the way to a near one for each.

    The second cell keeps those that are drawn twice from being copies.
    """
    n = len(x)
    cell = rng.choice(n, n, p=density / density.sum())
    squares = (x**2).sum(1)
    distance = squares[cell, None] + squares[None] - 2 * x[cell] @ x.T
    distance[np.arange(n), cell] = np.inf
    near = np.argpartition(distance, min(_N_PARTNERS, n - 1) - 1, 1)
    partner = near[np.arange(n), rng.integers(min(_N_PARTNERS, n - 1), size=n)]
    return cell, partner, 0.5 * rng.random(n)


def centred(x: FloatArray) -> FloatArray:
    """The same points around their mean, in float64."""
    x = np.asarray(x, np.float64)
    return x - x.mean(0)


def reduced(x: FloatArray) -> FloatArray:
    """The same points in at most as many dimensions as there are points (distances and norms are kept)."""
    if x.shape[1] <= len(x):
        return x
    left, size, _ = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    return left * size
