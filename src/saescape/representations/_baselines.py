"""What costs no training and has to be beaten: other scalings, and random features, of the representation itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._reduce import principal_components

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._rows import RowSource
    from saescape._typing import FloatArray

# widest random expansion, and most whitened components
MAX_WIDTH = 2048
MAX_WHITENED = 256


def pooled(rows: RowSource) -> FloatArray | sparse.csr_matrix:
    """All observations as float32, positions averaged; CSR where they are stored so."""
    if rows.is_sparse and rows.in_memory:
        return rows.read(0, rows.n_obs, keep_sparse=True)
    result = np.empty((rows.n_obs, rows.n_dims), dtype=np.float32)
    for start, block in rows.blocks():
        result[start : start + len(block)] = block.mean(1, dtype=np.float64) if block.ndim == 3 else block
    return result


def unit_rows(x: FloatArray | sparse.csr_matrix) -> FloatArray | sparse.csr_matrix:
    """Rows divided by their Euclidean norm (rows of zeros are kept)."""
    from sklearn.preprocessing import normalize

    return normalize(x)


def whitened(rows: RowSource, rng: np.random.Generator) -> FloatArray:
    """Principal components of the pooled rows, each with variance 1."""
    return principal_components(pooled(rows), MAX_WHITENED, rng, whiten=True)


def random_relu(rows: RowSource, width: int, rng: np.random.Generator) -> FloatArray:
    r"""Random features :math:`\max(0, (x - \bar x) R)`, with uniform directions in the columns of `R`.

    Positions are expanded one by one and then pooled, as the codes of a sparse autoencoder are: what this baseline
    lacks is a dictionary that was learned.
    """
    mean = rows.moments()[0].astype(np.float32)
    directions = rng.standard_normal((rows.n_dims, width), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    result = np.empty((rows.n_obs, width), dtype=np.float32)
    size = max(1, rows.block_size() * rows.n_dims // max(rows.n_dims, width))
    for start, block in rows.blocks(size):
        features = np.maximum((block - mean) @ directions, 0)
        result[start : start + len(block)] = features.mean(1) if features.ndim == 3 else features
    return result
