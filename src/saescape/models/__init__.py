from __future__ import annotations

from ._sparse_autoencoder import SparseAutoencoder

__all__ = ["SparseAutoencoder"]
