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


@dataclass(frozen=True)
class Readout:
    """Sparse plan and what was read from the full one, rows in the order of the cells.

    `projections` holds one conditional mean `(n, d)` per target, `confidence` one minus the entropy of each row's
    conditional over log(n_ref), `dropped_mass` the share of the plan that the sparse matrix left out before its
    marginals were corrected and `marginal_error` the L1 error of both marginals after.
    """

    coupling: sparse.csr_matrix
    projections: list[FloatArray]
    confidence: FloatArray
    dropped_mass: float
    marginal_error: float


def read_plan(
    blocks: Iterable[tuple[int, torch.Tensor]], shape: tuple[int, int], targets: Sequence[FloatArray]
) -> Readout:
    """Read a plan given as blocks of rows in one pass; each target is `(n_ref, d)`."""
    n, m = shape
    per_row = int(min(m, max(_MIN_PER_ROW, _MAX_STORED // n)))
    projections = [np.empty((n, target.shape[1]), np.float32) for target in targets]
    confidence = np.empty(n, np.float32)
    best_value, best_row = np.full(m, -1.0, np.float32), np.zeros(m, np.int64)
    rows, columns, values = [], [], []
    tensors: list[torch.Tensor] | None = None
    for start, block in blocks:
        if tensors is None:
            tensors = [torch.as_tensor(np.asarray(t, np.float32), device=block.device) for t in targets]
        stop = start + len(block)
        conditional = block / block.sum(1, keepdim=True).clamp(min=1e-30)
        for out, target in zip(projections, tensors, strict=True):
            out[start:stop] = (conditional @ target).cpu().numpy()
        entropy = -torch.xlogy(conditional, conditional).sum(1)
        confidence[start:stop] = (1 - entropy / np.log(max(m, 2))).clamp(0, 1).cpu().numpy()

        top, index = conditional.topk(per_row, 1)
        # the smallest set of entries that holds the mass to keep
        wanted = top.cumsum(1) - top < _KEPT_MASS
        at_row, position = wanted.nonzero(as_tuple=True)
        at_column = index[at_row, position]
        rows.append(at_row.cpu().numpy() + start)
        columns.append(at_column.cpu().numpy())
        values.append(block[at_row, at_column].cpu().numpy())
        highest, where = (t.cpu().numpy() for t in block.max(0))
        better = highest > best_value
        best_value[better], best_row[better] = highest[better], where[better] + start

    row, column, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
    # every reference cell keeps at least its best partner, or its marginal could not be restored
    empty = np.flatnonzero(np.bincount(column, minlength=m) == 0)
    row, column = np.concatenate([row, best_row[empty]]), np.concatenate([column, empty])
    value = np.concatenate([value, np.maximum(best_value[empty], 1e-12 / (n * m))])
    plan = sparse.csr_matrix((value.astype(np.float64), (row, column)), shape)
    dropped = max(0.0, 1 - float(plan.sum()))
    plan, error = correct_marginals(plan)
    return Readout(plan, projections, confidence, dropped, error)


def correct_marginals(
    plan: sparse.csr_matrix, *, max_iter: int = 100, tol: float = 1e-4
) -> tuple[sparse.csr_matrix, float]:
    """Rescale rows and columns on the support towards uniform marginals; the rows, done last, are exact.

    Returns float32 csr with sorted indices and the L1 error of both marginals.
    """
    n, m = plan.shape
    transposed = plan.T.tocsr()
    u, v = np.ones(n), np.ones(m)
    for _ in range(max_iter):
        u = 1 / (n * np.maximum(plan @ v, 1e-300))
        column = v * (transposed @ u)
        if np.abs(column - 1 / m).sum() < tol:
            break
        v = np.where(column > 0, v / (m * np.maximum(column, 1e-300)), v)
    u = 1 / (n * np.maximum(plan @ v, 1e-300))
    scaled = sparse.csr_matrix(sparse.diags(u) @ plan @ sparse.diags(v), dtype=np.float32)
    scaled.sort_indices()
    rows, columns = np.asarray(scaled.sum(1)).ravel(), np.asarray(scaled.sum(0)).ravel()
    return scaled, float(np.abs(rows - 1 / n).sum() + np.abs(columns - 1 / m).sum())
