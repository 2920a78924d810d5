from __future__ import annotations

import pandas as pd

from ._fields import DATA, ImageFields


def nf1_cell_painting() -> ImageFields:
    """Cell Painting of Schwann cells: five fields of one plate, three channels, masks of nuclei and cells.

    One field (904 x 1224 pixels, uint16) from each of five wells of plate 2 of the NF1 project, channels DAPI (nuclei),
    GFP and RFP, with **binary** masks (0/255) of 132 nuclei or touching groups of nuclei, and of the cells around them.
    Ships with the package.

    Returns
    -------
    Fields with `images` (TIFF, `(3, Y, X)`), `labels` (nuclei; TIFF, `(Y, X)`), `cells` (likewise), `channel_names`,
    and `obs` with `plate`, `well`, `row`, `column` and `site` of each field.

    Notes
    -----
    Source: CytoDataFrame's test data (`github.com/cytomining/CytoDataFrame`, commit 462accbc18e5), BSD-3-Clause; the
    licence lies beside the files. The genotype of the wells is not part of these data.

    Examples
    --------
    >>> import saescape as sae
    >>> fields = sae.datasets.nf1_cell_painting()
    >>> list(fields.images)
    ['B7', 'D6', 'D7', 'F7', 'H12']
    >>> fields.channel_names
    ['DAPI', 'GFP', 'RFP']
    """
    folder = DATA / "nf1_cell_painting"
    obs = pd.read_csv(folder / "fields.csv", index_col="field")
    return ImageFields(
        images={field: folder / f"{field}.tif" for field in obs.index},
        labels={field: folder / f"{field}_nuclei.tif" for field in obs.index},
        channel_names=["DAPI", "GFP", "RFP"],
        obs=obs,
        cells={field: folder / f"{field}_cells.tif" for field in obs.index},
    )
