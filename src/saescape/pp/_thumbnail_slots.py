"""Keep thumbnails in an AnnData of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._keys import IMAGE_UNS, THUMBNAILS
from saescape._memory import check_memory

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape.imaging._fields import Field
    from saescape.imaging._scaling import Scaling
    from saescape.imaging._scan import Scan


def check_thumbnail_memory(scan: Scan, side: int) -> None:
    """Raise before any work when the thumbnails will not fit into memory."""
    n_obs = sum(len(found) for found in scan.regions)
    # four of their bytes count as one number
    check_memory(n_obs, -(-(len(scan.channel_names) + 1) * side**2 // 4), "`thumbnails`", "make them smaller")


def write_thumbnails(adata: AnnData, fields: list[Field], scan: Scan, percentile: Scaling, side: int) -> None:
    """Add `.obsm["thumbnails"]` and the intensities that they lie between."""
    from saescape.imaging._preview import RGB
    from saescape.imaging._scaling import dtype_scaling
    from saescape.imaging._thumbnails import make_thumbnails

    n_channels = len(scan.channel_names)
    bounds = dtype_scaling(scan.dtype, n_channels) if tuple(scan.channel_names) == RGB else percentile
    adata.obsm[THUMBNAILS] = make_thumbnails(fields, scan.regions, bounds, side)
    adata.uns[IMAGE_UNS]["thumbnail_bounds"] = np.stack([bounds.low, bounds.high], axis=1)
