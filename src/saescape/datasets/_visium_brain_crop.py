from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad

from ._fields import DATA

if TYPE_CHECKING:
    from pathlib import Path


def visium_brain_crop() -> tuple[ad.AnnData, Path]:
    """Visium spots of a mouse brain with the tissue image they lie on: image and expression of the same spots.

    49 spots x 1,999 genes (normalised, log-transformed) and the RGB image of that crop (1,717 x 950 pixels). Because
    every spot has both modalities, a map between the two can be checked against the true pairing. Ships with the
    package.

    Returns
    -------
    The expression (`.obs["leiden"]`: clusters, `.obsm["spatial"]`: x, y in pixels of the image) and the path of the
    image.

    Notes
    -----
    Source: squidpy's test data (`github.com/scverse/squidpy`, commit be17fcf6afdd), BSD-3-Clause; the licence lies
    beside the files. A spot is 89 pixels wide.

    Examples
    --------
    >>> import saescape as sae
    >>> adata, image = sae.datasets.visium_brain_crop()
    >>> adata.shape
    (49, 1999)
    >>> image.name
    'tissue.jpg'
    """
    folder = DATA / "visium_brain_crop"
    return ad.read_h5ad(folder / "expression.h5ad"), folder / "tissue.jpg"
