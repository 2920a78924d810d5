"""Our side of every comparison: the only file here that knows how saescape is driven."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from saescape._rows import RowSource
from saescape.sae._data import TrainingRows
from saescape.sae._defaults import ARCHITECTURES, default_lr, make_plan
from saescape.sae._encode import encode_rows
from saescape.sae._fit import fit_rows
from saescape.sae._parameters import Standardizer
from saescape.sae._start import make_trainer
from saescape.sae._weights import SaeWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy import sparse

CPU = torch.device("cpu")
OURS = {f"saescape {architecture}": architecture for architecture in ARCHITECTURES}


class Fitted(NamedTuple):
    codes: sparse.csr_matrix
    codes_held_out: sparse.csr_matrix
    reconstruction_held_out: np.ndarray
    directions: np.ndarray


def our_lr(setting: dict) -> float:
    return default_lr(setting["batch"], setting["m"])


def _plan(n_rows: int, n_dims: int, setting: dict, architecture: str):
    sizes = {"n_features": setting["m"], "k": setting["k"], "batch_size": setting["batch"]}
    plan = make_plan(n_rows, n_dims, architecture=architecture, early_stopping=False, **sizes)
    return replace(plan, n_steps=setting["steps"])


def ours(x: np.ndarray, setting: dict, architecture: str) -> Callable[[torch.Tensor], object]:
    """One training step on raw rows, standardisation included."""
    rows = RowSource(x)
    standardizer = Standardizer("center", *rows.moments())
    data = TrainingRows(rows, np.zeros(len(x), dtype=bool), CPU)
    plan = _plan(*x.shape, setting, architecture)
    trainer = make_trainer(data, plan, standardizer, np.random.default_rng(0), endless=True)
    mean, inverse = standardizer.tensors(CPU)
    return lambda batch: trainer.step((batch - mean).mul_(inverse))


def fit_ours(x: np.ndarray, held_out: np.ndarray, setting: dict, architecture: str) -> Fitted:
    """A whole fit with our defaults; the held-out rows are those of everybody."""
    together = np.concatenate([x, held_out])
    mask = np.arange(len(together)) >= len(x)
    plan = _plan(*x.shape, setting, architecture)
    rng = np.random.default_rng(0)
    fit = fit_rows(RowSource(together), plan, RowSource(x).moments(), mask, rng=rng, device=CPU)
    codes = fit.encoded.codes
    new = codes[len(x) :]
    return Fitted(codes[: len(x)], new, fit.weights.decode(new), fit.weights.W_dec)


def encode_ours(x: np.ndarray, weights: SaeWeights) -> sparse.csr_matrix:
    return encode_rows(RowSource(x), weights, CPU).codes


def some_weights(d: int, m: int, k: int, b_dec: np.ndarray, directions: np.ndarray | None = None) -> SaeWeights:
    """A TopK autoencoder with random directions, or with given ones: for timing and as a baseline."""
    if directions is None:
        directions = np.random.default_rng(0).standard_normal((m, d))
    unit = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    bias = np.zeros(m, dtype=np.float32)
    return SaeWeights(np.ascontiguousarray(unit.T), unit, bias, b_dec.astype(np.float32), "topk", k)
