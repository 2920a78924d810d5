"""What a plan says about the cells: projection, labels, confidence, and the sparse matrix that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from saescape._typing import FloatArray

# entries that the stored plan may have
_MAX_STORED = 20_000_000
_MIN_PER_ROW = 64
_KEPT_MASS = 0.999
_ROWS_AT_ONCE = 8192
# far from overflow, also where two such numbers are multiplied
_TINY = 1e-120


@dataclass(frozen=True)
class Readout:
    """Sparse plan and what was read from the full one, rows in the order of the cells.

    `projections` holds one conditional mean `(n, d)` per target, `confidence` one minus the entropy of each row's
    conditional over log(n_ref), `row_mass` the mass of each row, `dropped_mass` the share of the plan that the sparse
    matrix left out before its marginals were corrected and `marginal_error` the L1 error of both marginals after.
    """

    coupling: sparse.csr_matrix
    projections: list[FloatArray]
    confidence: FloatArray
    dropped_mass: float
    marginal_error: float
    row_mass: FloatArray


def stored_per_row(n: int, m: int) -> int:
    """Entries that a row of the stored plan `(n, m)` may have."""
    return int(min(m, max(_MIN_PER_ROW, _MAX_STORED // n)))


def read_plan(
    blocks: Iterable[tuple[int, torch.Tensor]],
    shape: tuple[int, int],
    targets: Sequence[FloatArray],
    marginals: tuple[FloatArray, FloatArray] | None = None,
) -> Readout:
    """Read a plan given as blocks of rows in one pass; each target is `(n_ref, d)`, `marginals` by default uniform."""
    n, m = shape
    per_row = stored_per_row(n, m)
    projections = [np.empty((n, target.shape[1]), np.float32) for target in targets]
    confidence = np.empty(n, np.float32)
    best_value, best_row = np.full(m, -1.0, np.float32), np.zeros(m, np.int64)
    n_kept = np.zeros(n + 1, np.int64)
    # one array from the start: small arrays that stay, allocated among the large ones of each block, leave holes in
    # memory that no later block fits in
    column, value = np.empty(n * per_row, np.int32), np.empty(n * per_row, np.float32)
    filled = 0
    tensors: list[torch.Tensor] | None = None
    for start, block in blocks:
        if tensors is None:
            tensors = [torch.as_tensor(np.asarray(t, np.float32), device=block.device) for t in targets]
        stop = start + len(block)
        conditional = block / block.sum(1, keepdim=True).clamp(min=1e-30)
        for out, target in zip(projections, tensors, strict=True):
            out[start:stop] = (conditional @ target).cpu().numpy()
        # the smallest normal number keeps log(0) away from the product
        logarithms = conditional.clamp(min=torch.finfo(conditional.dtype).tiny).log_()
        entropy = -torch.linalg.vecdot(conditional, logarithms)
        confidence[start:stop] = (1 - entropy / np.log(max(m, 2))).clamp(0, 1).cpu().numpy()

        top, index = conditional.topk(per_row, 1)
        # the smallest set of entries that holds the mass to keep
        wanted = top.cumsum(1) - top < _KEPT_MASS
        n_kept[start + 1 : stop + 1] = wanted.sum(1).cpu().numpy()
        kept = slice(filled, filled + int(n_kept[start + 1 : stop + 1].sum()))
        column[kept] = index[wanted].to(torch.int32).cpu().numpy()
        value[kept] = block.gather(1, index)[wanted].cpu().numpy()
        filled = kept.stop
        highest = block.amax(0).cpu().numpy()
        better = np.flatnonzero(highest > best_value)
        best_value[better] = highest[better]
        best_row[better] = block[:, torch.from_numpy(better).to(block.device)].argmax(0).cpu().numpy() + start

    column = column[:filled]
    plan = sparse.csr_matrix((value[:filled].astype(np.float64), column, n_kept.cumsum()), shape)
    del value
    # every reference cell keeps at least its best partner, or its marginal could not be restored
    empty = np.flatnonzero(np.bincount(column, minlength=m) == 0)
    if len(empty):
        least = np.maximum(best_value[empty].astype(np.float64), 1e-12 / (n * m))
        plan = plan + sparse.csr_matrix((least, (best_row[empty], empty)), shape)
    dropped = max(0.0, 1 - float(plan.sum()))
    plan, error = correct_marginals(plan, marginals)
    row_mass = np.full(n, 1 / n) if marginals is None else marginals[0]
    return Readout(plan, projections, confidence, dropped, error, row_mass)


def correct_marginals(
    plan: sparse.csr_matrix,
    marginals: tuple[FloatArray, FloatArray] | None = None,
    *,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> tuple[sparse.csr_matrix, float]:
    """Rescale rows and columns on the support towards `marginals` (uniform by default); the rows, done last, are exact.

    The plan is changed in place: a copy would be the largest of all arrays. Returns float32 csr with sorted indices and
    the L1 error of both marginals.
    """
    n, m = plan.shape
    a, b = (np.full(n, 1 / n), np.full(m, 1 / m)) if marginals is None else marginals
    transposed = plan.T.tocsr()
    u, v = np.ones(n), np.ones(m)
    for _ in range(max_iter):
        u = a / np.maximum(plan @ v, _TINY)
        column = v * (transposed @ u)
        if np.abs(column - b).sum() < tol:
            break
        v = np.where(column > 0, np.minimum(v * (b / np.maximum(column, _TINY)), 1 / _TINY), v)
    u = a / np.maximum(plan @ v, _TINY)
    for start in range(0, n, _ROWS_AT_ONCE):
        entries = slice(plan.indptr[start], plan.indptr[min(start + _ROWS_AT_ONCE, n)])
        counts = np.diff(plan.indptr[start : start + _ROWS_AT_ONCE + 1])
        plan.data[entries] *= np.repeat(u[start : start + _ROWS_AT_ONCE], counts) * v[plan.indices[entries]]
    scaled = sparse.csr_matrix((plan.data.astype(np.float32), plan.indices, plan.indptr), plan.shape)
    scaled.sort_indices()
    rows, columns = np.asarray(scaled.sum(1)).ravel(), np.asarray(scaled.sum(0)).ravel()
    return scaled, float(np.abs(rows - a).sum() + np.abs(columns - b).sum())
