"""Planted dictionaries: rows whose sparse codes and directions are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

#: n rows, d columns, n_true directions of which l0 are active; m features, k active, rows per step, steps of a fit
SETTINGS: dict[str, dict] = {
    "A": {"n": 20_000, "d": 512, "n_true": 1024, "l0": 20, "m": 4096, "k": 32, "batch": 1024, "steps": 300},
    "B": {"n": 20_000, "d": 128, "n_true": 256, "l0": 8, "m": 1024, "k": 16, "batch": 512, "steps": 1000},
    "C": {"n": 20_000, "d": 512, "n_true": 1024, "l0": 20, "m": 16_384, "k": 32, "batch": 1024, "steps": 300},
    "D": {"n": 20_000, "d": 1024, "n_true": 1024, "l0": 20, "m": 8192, "k": 64, "batch": 1024, "steps": 300},
    "E": {"n": 20_000, "d": 50, "n_true": 128, "l0": 6, "m": 512, "k": 8, "batch": 512, "steps": 1000},
    "many rows": {"n": 200_000, "d": 128, "n_true": 512, "l0": 10.3, "m": 1024, "k": 12, "batch": 512, "steps": 781}
    | {"zipf": 1.0, "noise": 0.1},
}
_BLOCK = 20_000
_N_HELD_OUT = 2_000


class Planted(NamedTuple):
    x: np.ndarray
    held_out: np.ndarray
    dictionary: np.ndarray
    codes: sparse.csr_matrix
    codes_held_out: sparse.csr_matrix


def quick(setting: dict) -> dict:
    """The same at a size that only shows that everything runs."""
    small = {"n": 2000, "d": 32, "n_true": 48, "l0": 4, "m": 128, "k": 6, "batch": 128, "steps": 60}
    return setting | small


def planted(setting: dict, offset: float = 1.0, seed: int = 0) -> Planted:
    """Codes with power-law frequencies, unit directions, noise, and a constant offset in units of the signal's norm."""
    n, d, n_true = setting["n"], setting["d"], setting["n_true"]
    rng = np.random.default_rng(seed)
    dictionary = rng.standard_normal((n_true, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    frequency = np.arange(1, n_true + 1) ** -setting.get("zipf", 0.5)
    # the most frequent ones are capped, so the others are raised until the mean is right
    scale = setting["l0"] / frequency.sum()
    for _ in range(50):
        scale *= setting["l0"] / np.minimum(frequency * scale, 0.5).sum()
    frequency = np.minimum(frequency * scale, 0.5)
    blocks = []
    for start in range(0, n + _N_HELD_OUT, _BLOCK):
        shape = (min(_BLOCK, n + _N_HELD_OUT - start), n_true)
        blocks.append(sparse.csr_matrix((rng.random(shape) < frequency) * (0.5 + rng.exponential(0.5, shape))))
    codes = sparse.vstack(blocks, format="csr")
    x = codes @ dictionary
    power = float(np.square(x).sum(1).mean())
    direction = rng.standard_normal(d)
    noise = np.sqrt(setting.get("noise", 0.05) * x.var(0).sum() / d)
    x = x.astype(np.float32) + np.float32(noise) * rng.standard_normal(x.shape, dtype=np.float32)
    x += (offset * direction / np.linalg.norm(direction) * np.sqrt(power)).astype(np.float32)
    return Planted(x[:n], x[n:], dictionary, codes[:n], codes[n:])


def batches(x: np.ndarray, size: int, n_steps: int, seed: int = 0):
    """Batches of shuffled passes over the rows."""
    rng = np.random.default_rng(seed)
    order, at = rng.permutation(len(x)), 0
    for _ in range(n_steps):
        if at + size > len(x):
            order, at = rng.permutation(len(x)), 0
        yield torch.from_numpy(x[order[at : at + size]])
        at += size
