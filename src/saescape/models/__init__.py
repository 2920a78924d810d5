from __future__ import annotations

from ._contrastive_encoder import ContrastiveEncoder
from ._image_encoder import ImageEncoder
from ._sparse_autoencoder import SparseAutoencoder

__all__ = ["ContrastiveEncoder", "ImageEncoder", "SparseAutoencoder"]
