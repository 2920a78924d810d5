from __future__ import annotations

from ._image_qc import image_qc
from ._image_to_adata import image_to_adata

__all__ = ["image_qc", "image_to_adata"]
