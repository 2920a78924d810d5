"""Codes of any row source as a sparse matrix; nothing of the size rows x features is ever formed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from ._sparse import sparse_ops
from .architectures import make_architecture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._rows import RowSource
    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._infer import Inference
    from ._weights import SaeWeights
    from .architectures import Active

# elements of the pre-activations of one batch
_PRE_ELEMENTS = 2**22


@dataclass
class Encoded:
    """Codes and what was measured while they were made.

    `codes` are per observation (mean over positions); everything else counts rows, that is positions of 3-D data.
    Groups are numbered; `dim_error` and `dim_variance` are sums of squares `(n_groups, n_dims)`, the latter about the
    group's own mean.
    """

    codes: sparse.csr_matrix
    n_rows: int
    n_active: IntArray
    total: FloatArray
    maximum: FloatArray
    group_rows: IntArray
    dim_error: FloatArray
    dim_variance: FloatArray

    @property
    def l0(self) -> float:
        """Mean number of active features per row."""
        return float(self.n_active.sum() / self.n_rows)

    def fvu(self, groups: BoolArray | None = None) -> float:
        """Fraction of variance unexplained, of all groups or of some; NaN without variance."""
        groups = np.ones(len(self.group_rows), dtype=bool) if groups is None else groups
        variance = float(self.dim_variance[groups].sum())
        return float(self.dim_error[groups].sum()) / variance if variance > 0 else float("nan")


class Encoder:
    """Weights as tensors on a device.

    Parameters
    ----------
    weights
        Of the trained model.
    device
        Where to compute.
    n_positions
        Rows that belong to one observation and are encoded in one batch.
    """

    def __init__(self, weights: SaeWeights, device: torch.device, n_positions: int = 1) -> None:
        as_tensor = lambda a: torch.tensor(a, device=device)  # noqa: E731
        self.device = device
        self.n_features = weights.n_features
        self.encoder = as_tensor(np.ascontiguousarray(weights.W_enc.T))
        self.decoder = as_tensor(weights.W_dec)
        self.b_enc = as_tensor(weights.b_enc)
        self.b_dec = as_tensor(weights.b_dec)
        self._learned = {
            name: as_tensor(array)
            for name, array in weights.arrays().items()
            if name in {"b_enc", "threshold", "r_mag", "b_mag"}
        }
        self.architecture = make_architecture(weights.architecture, weights.k, weights.n_features)
        self.ops = sparse_ops(device)
        size = int(np.clip(_PRE_ELEMENTS // weights.n_features, 64, 8192))
        self.batch_size = max(1, size // n_positions) * n_positions
        self._buffer = torch.empty(self.batch_size, weights.n_features, device=device)

    def pre_activations(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Centred rows and their pre-activations (valid until the next call)."""
        centred = x.to(self.device) - self.b_dec
        return centred, torch.addmm(self.b_enc, centred, self.encoder.t(), out=self._buffer[: len(x)])

    def active(self, pre: torch.Tensor) -> Active:
        """Positive active entries, columns increasing within a row."""
        active = self.architecture.infer(pre, self._learned)
        values, cols, rows, ptr = active
        positive = values > 0
        if not bool(positive.all()):
            values, cols, rows = values[positive], cols[positive], rows[positive]
            counts = torch.bincount(rows, minlength=len(pre))
            ptr = torch.cat([ptr[:1], counts.cumsum(0)])
        return active._replace(values=values, cols=cols, rows=rows, ptr=ptr)

    def errors(self, active: Active, centred: torch.Tensor) -> torch.Tensor:
        """Reconstruction minus row."""
        return self.ops.bag(active.cols, self.decoder, active.ptr, active.values).sub_(centred)


def row_batches(rows: RowSource, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Batches of whole observations of at most `size` rows, as (number of the first observation, rows)."""
    n_obs = size // (rows.n_positions or 1)
    for start, block in rows.blocks():
        for low in range(0, len(block), n_obs):
            part = np.array(block[low : low + n_obs]).reshape(-1, rows.n_dims)
            yield start + low, torch.from_numpy(part)


def _pool(
    values: np.ndarray, cols: np.ndarray, ptr: np.ndarray, n_features: int, n_positions: int
) -> sparse.csr_matrix:
    """Codes per observation: the mean over its positions."""
    matrix = sparse.csr_matrix(
        (values / np.float32(n_positions) if n_positions > 1 else values, cols.astype(np.int32), ptr[::n_positions]),
        shape=((len(ptr) - 1) // n_positions, n_features),
    )
    # entries of one feature at several positions are added up
    matrix.sum_duplicates()
    return matrix


@torch.no_grad()
def encode_rows(
    rows: RowSource,
    weights: SaeWeights,
    device: torch.device,
    groups: IntArray | None = None,
    *,
    scale: FloatArray | None = None,
    inference: Inference | None = None,
    show_progress_bar: bool = False,
) -> Encoded:
    """Encode every row alone, pool positions, and measure error and activity on the way.

    Parameters
    ----------
    groups
        Group number of each observation, for the error of each group.
    scale
        Units of the dimensions in which errors and variances are measured; None for those of the rows.
    inference
        Where codes come from; None for the encoder.
    """
    from tqdm.auto import tqdm

    m, p = weights.n_features, rows.n_positions or 1
    encoder = Encoder(weights, device, p)
    groups = np.zeros(rows.n_obs, dtype=np.int64) if groups is None else groups
    n_groups = int(groups.max()) + 1
    n_active, total = np.zeros(m, dtype=np.int64), np.zeros(m)
    maximum = torch.zeros(m)
    sizes = np.zeros(n_groups, dtype=np.int64)
    errors, sums, squares = (np.zeros((n_groups, rows.n_dims)) for _ in range(3))
    parts = []
    inverse = torch.ones(rows.n_dims) if scale is None else torch.from_numpy(1 / np.asarray(scale, dtype=np.float32))
    inverse = inverse.to(device)
    progress = tqdm(total=rows.n_rows, desc="encode", unit="row", disable=not show_progress_bar)
    for start, x in row_batches(rows, encoder.batch_size):
        if inference is None:
            centred_tensor, pre = encoder.pre_activations(x)
            active = encoder.active(pre)
        else:
            centred_tensor = x.to(device) - encoder.b_dec
            active = inference.active(centred_tensor)
        error = (encoder.errors(active, centred_tensor) * inverse).cpu().numpy()
        centred = (centred_tensor * inverse).cpu().numpy()
        values, cols, ptr = active.values.cpu(), active.cols.cpu(), active.ptr.cpu().numpy()
        maximum.scatter_reduce_(0, cols, values, "amax")
        n_active += np.bincount(cols.numpy(), minlength=m)
        total += np.bincount(cols.numpy(), weights=values.numpy(), minlength=m)
        parts.append(_pool(values.numpy(), cols.numpy(), ptr, m, p))

        row_groups = np.repeat(groups[start : start + len(x) // p], p)
        sizes += np.bincount(row_groups, minlength=n_groups)
        present = np.unique(row_groups)
        for group in present:
            own = slice(None) if len(present) == 1 else row_groups == group
            sums[group] += centred[own].sum(0, dtype=np.float64)
            squares[group] += np.einsum("ij,ij->j", centred[own], centred[own], dtype=np.float64)
            errors[group] += np.einsum("ij,ij->j", error[own], error[own], dtype=np.float64)
        progress.update(len(x))
    progress.close()
    # rounding may leave less than nothing of a constant dimension
    variance = np.maximum(squares - sums**2 / np.maximum(sizes, 1)[:, None], 0.0)
    codes = sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0]
    return Encoded(sparse.csr_matrix(codes), rows.n_rows, n_active, total, maximum.numpy(), sizes, errors, variance)
