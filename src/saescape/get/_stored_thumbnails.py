"""What stands in for pixels that cannot be reached any more."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from saescape._keys import IMAGE_UNS, THUMBNAILS

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import IntArray


def instead_of_pixels(adata: AnnData, rows: IntArray, error: Exception) -> np.ndarray:
    """Thumbnails of some observations `(n, C + 1, side, side)` with a warning; raises `error` when there are none.

    They stand in only for pixels that were not kept or whose file is gone, not for any other failure.
    """
    stored = adata.uns[IMAGE_UNS]
    entries = [stored["fields"][name] for name in adata.obs["region"].iloc[rows].unique()]
    gone = isinstance(error, FileNotFoundError) or any(
        entry["source"] == "array" and "pixels" not in entry for entry in entries
    )
    if not gone or THUMBNAILS not in adata.obsm:
        raise error
    thumbnails = np.asarray(adata.obsm[THUMBNAILS][rows])
    message = str(error.args[0] if len(error.args) == 1 else error).rstrip(".")
    warnings.warn(
        f"Thumbnails stand in for the crops, which cannot be cut again ({message}). They have {thumbnails.shape[-1]} x "
        f"{thumbnails.shape[-1]} pixels and 8 bits between `adata.uns['image_to_adata']['thumbnail_bounds']`: good to "
        "look at, not to measure on.",
        UserWarning,
        stacklevel=3,
    )
    return thumbnails
