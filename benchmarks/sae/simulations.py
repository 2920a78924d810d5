"""Rows with known directions and codes, of kinds the defaults were not developed on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse, special


class Simulation(NamedTuple):
    x: np.ndarray
    dictionary: np.ndarray
    codes: sparse.csr_matrix


def frequencies(n_true: int, l0: float, zipf: float = 0.5, highest: float = 0.4) -> np.ndarray:
    """Power-law probabilities of being active that sum to `l0`, none above `highest`."""
    shape = np.arange(1, n_true + 1) ** -zipf
    scale = l0 / shape.sum()
    # capping the most frequent ones lowers the sum
    for _ in range(100):
        scale *= l0 / np.minimum(scale * shape, highest).sum()
    return np.minimum(scale * shape, highest)


def independent(n: int, probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.random((n, len(probability))) < probability


def correlated(n: int, probability: np.ndarray, rng: np.random.Generator, *, n_factors: int, strength: float):
    """Presence by a Gaussian copula: every direction loads on one factor, which explains a share `strength`."""
    factor = rng.standard_normal((n, n_factors))[:, rng.integers(0, n_factors, len(probability))]
    latent = np.sqrt(strength) * factor + np.sqrt(1 - strength) * rng.standard_normal((n, len(probability)))
    return latent < special.ndtri(probability)


def unequal_rows(n: int, probability: np.ndarray, rng: np.random.Generator, *, spread: float) -> np.ndarray:
    """Rows differ in complexity: their expected number of active directions is log-normal with that spread."""
    factor = np.exp(spread * rng.standard_normal((n, 1)) - spread**2 / 2)
    return rng.random((n, len(probability))) < np.minimum(factor * probability, 0.9)


def hierarchy(n: int, n_true: int, l0: float, rng: np.random.Generator, *, n_children: int) -> np.ndarray:
    """A parent, and with it one of its children in three of four cases; children never come alone."""
    n_parents = n_true // (1 + n_children)
    parents = independent(n, frequencies(n_parents, l0 / 1.75), rng)
    # number `n_children` stands for no child
    chosen = np.minimum(rng.integers(0, 4 * n_children, (n, n_parents)) // 3, n_children)
    children = [parents & (chosen == child) for child in range(n_children)]
    return np.concatenate([parents, *children], axis=1)


def rows_of(
    present: np.ndarray,
    n_dims: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.05,
    offset: float = 1.0,
    coherence: float = 0.0,
) -> Simulation:
    """Gamma(4) strengths with mean 1 on random unit directions, noise as a share of the variance, a constant offset.

    Parameters
    ----------
    offset
        In units of the root mean square length of the signal.
    coherence
        Expected cosine of directions that follow each other in pairs.
    """
    n_true = present.shape[1]
    dictionary = rng.standard_normal((n_true, n_dims))
    shared = np.repeat(rng.standard_normal(((n_true + 1) // 2, n_dims)), 2, axis=0)[:n_true]
    dictionary = np.sqrt(1 - coherence) * dictionary + np.sqrt(coherence) * shared
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = sparse.csr_matrix(present, dtype=np.float64)
    codes.data = rng.gamma(4.0, 0.25, codes.nnz)
    x = codes @ dictionary
    length = np.sqrt(np.square(x).sum(1).mean())
    x += np.sqrt(noise * x.var(0).sum() / n_dims) * rng.standard_normal(x.shape)
    direction = rng.standard_normal(n_dims)
    x += offset * length * direction / np.linalg.norm(direction)
    return Simulation(x.astype(np.float32), dictionary, codes)
