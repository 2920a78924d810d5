"""Codes by sparse inference with the learned dictionary held fixed, in place of the encoder."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from ._fista import fista
from ._omp import nonnegative_omp
from .architectures import Active

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import BoolArray

    from ._weights import SaeWeights

# elements of a dense matrix of codes, and of gathered atoms, held at once
_ELEMENTS = 2**20
_GATHERED = 2**22
# most atoms of a row for which the active-set method is tried first
_START_ATOMS = 64


class Inference(Protocol):
    """What `encode_rows` needs to take codes from somewhere else than the encoder."""

    def active(self, centred: torch.Tensor) -> Active:
        """Positive entries of the codes of rows from which `b_dec` was subtracted, columns increasing within a row."""


class Dictionary:
    """Decoder rows of unit length on a device.

    Penalties are charged per unit of length that an atom contributes to the reconstruction, so that whether a feature
    is used does not depend on how its decoder row happens to be scaled; codes come back in units of that row. Lengths
    are those after division by the scale of the model, so that errors are those it was trained on.

    Parameters
    ----------
    weights
        Of the trained model; of these only the decoder and the scale of dimensions are used.
    used
        Mask of the features that may be used; None for all.
    """

    def __init__(self, weights: SaeWeights, device: torch.device, used: BoolArray | None = None) -> None:
        inverse = np.ones(weights.n_dims) if weights.scale is None else 1 / weights.scale.astype(np.float64)
        atoms = weights.W_dec.astype(np.float64) * inverse
        lengths = np.linalg.norm(atoms, axis=1)
        # an atom of no length never correlates with anything
        atoms[lengths == 0 if used is None else ~used] = 0.0
        lengths[lengths == 0] = 1.0
        as_tensor = lambda a: torch.tensor(np.asarray(a, dtype=np.float32), device=device)  # noqa: E731
        self.inverse, self.lengths = as_tensor(inverse), as_tensor(lengths)
        self.atoms = as_tensor(atoms / lengths[:, None])
        self.b_dec = as_tensor(weights.b_dec)

    @cached_property
    def gram(self) -> torch.Tensor | None:
        """Products of the atoms, where that saves work over multiplying by the dictionary and back."""
        m, d = self.atoms.shape
        return self.atoms @ self.atoms.t() if m <= 2 * d else None

    @cached_property
    def lipschitz(self) -> float:
        """Largest eigenvalue of the products of the atoms, rounded up."""
        norm = torch.linalg.matrix_norm(self.atoms.double().cpu() if self.atoms.is_mps else self.atoms.double(), 2)
        return max(float(norm) ** 2 * (1 + 1e-5), float(np.finfo(np.float32).tiny))

    def blocks(self, centred: torch.Tensor, n_atoms: int) -> Iterator[torch.Tensor]:
        """Rows in units of `scale`, as many at once as memory allows when each gathers `n_atoms` atoms."""
        m, d = self.atoms.shape
        size = max(1, min(_ELEMENTS // m, _GATHERED // (n_atoms * (d + n_atoms))))
        for block in centred.split(size):
            yield block * self.inverse

    def largest_correlation(self, centred: torch.Tensor) -> float:
        """Product of an atom with a row above which a penalty leaves all codes empty."""
        return max(float((block @ self.atoms.t()).max()) for block in self.blocks(centred, 1))

    def compress(self, parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> Active:
        """Active entries from (values, columns, entries per row) of consecutive blocks of rows."""
        values, cols, counts = (torch.cat(column) for column in zip(*parts, strict=True))
        ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        rows = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        return Active(values / self.lengths[cols], cols, rows, ptr)


class FistaInference:
    """Minimum of ``1/2 ||x - zD||^2 + penalty * sum(z ||D||)`` over non-negative codes.

    Parameters
    ----------
    penalty
        Positive.
    tol
        Duality gap at which a row is done, relative to half its squared length.
    max_iter
        Iterations after which a row is left as it is, and counted in `n_unconverged`.
    """

    def __init__(self, dictionary: Dictionary, penalty: float, *, tol: float = 1e-4, max_iter: int = 2_000) -> None:
        self.dictionary, self.penalty, self.tol, self.max_iter = dictionary, penalty, tol, max_iter
        self.n_start = min(_START_ATOMS, *dictionary.atoms.shape)
        self.n_unconverged = 0

    def active(self, centred: torch.Tensor) -> Active:
        dictionary, parts = self.dictionary, []
        for block in dictionary.blocks(centred, self.n_start):
            # the active-set method is exact and needs about as many rounds as there are atoms: it solves most rows, and
            # the iteration proves that, or finishes what is left
            values, cols = nonnegative_omp(
                block, dictionary.atoms, self.n_start, min_correlation=self.penalty, shrinkage=self.penalty
            )
            start = block.new_zeros(len(block), len(dictionary.atoms)).scatter_add_(1, cols, values)
            codes, gap = fista(
                block,
                dictionary.atoms,
                self.penalty,
                lipschitz=dictionary.lipschitz,
                gram=dictionary.gram,
                start=start,
                tol=self.tol,
                max_iter=self.max_iter,
            )
            self.n_unconverged += int((gap > self.tol).sum())
            rows, cols = codes.nonzero(as_tuple=True)
            parts.append((codes[rows, cols], cols, torch.bincount(rows, minlength=len(block))))
        return dictionary.compress(parts)


class OmpInference:
    """Greedy choice of atoms with an exact non-negative refit.

    A row takes atoms until none correlates with its residual by more than `penalty`, at most `n_atoms`.
    """

    def __init__(self, dictionary: Dictionary, penalty: float, n_atoms: int) -> None:
        self.dictionary, self.penalty = dictionary, penalty
        # more atoms than dimensions never lower the error
        self.n_atoms = min(n_atoms, *dictionary.atoms.shape)
        self.n_unconverged = 0

    def active(self, centred: torch.Tensor) -> Active:
        dictionary, parts = self.dictionary, []
        m = len(dictionary.atoms)
        for block in dictionary.blocks(centred, self.n_atoms):
            values, cols = nonnegative_omp(block, dictionary.atoms, self.n_atoms, min_correlation=self.penalty)
            cols, order = torch.where(values > 0, cols, m).sort(1)
            used = cols < m
            parts.append((values.gather(1, order)[used], cols[used], used.sum(1)))
        return dictionary.compress(parts)
