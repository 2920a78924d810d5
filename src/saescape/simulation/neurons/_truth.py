"""What is known about simulated cells, as AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from saescape._keys import SPATIAL

from ._channels import CHANNEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._culture import Culture
    from ._motifs import Motif

FIELD_COLUMNS = ["condition", "line", "plate", "well"]


def truth_of_cells(
    culture: Culture,
    labels: dict[str, IntArray],
    counts: list[IntArray],
    rates: FloatArray,
    motifs: Sequence[Motif],
) -> ad.AnnData:
    """One row per imaged cell, named as by `image_to_adata`; one variable per concept."""
    n_in_field = [len(own) for own in culture.cells]
    imaged = np.concatenate(culture.cells)
    regions = np.repeat(np.arange(len(labels)), n_in_field)
    ids = np.concatenate([np.arange(1, n + 1) for n in n_in_field])
    names = list(labels)
    obs = pd.DataFrame(
        {"region": pd.Categorical.from_codes(regions, categories=names), "instance_id": ids},
        index=[f"{names[f]}_{i}" for f, i in zip(regions, ids, strict=True)],
    )
    design = culture.design
    obs = obs.join(design.obs.iloc[imaged].set_index(obs.index))
    truth = ad.AnnData(np.concatenate(counts).astype(np.float32), obs=obs, var=design.concepts.copy())
    truth.layers["rates"] = rates[imaged].astype(np.float32)
    truth.obsm[SPATIAL] = np.concatenate(
        [_centroids(labels[name], n) for name, n in zip(names, n_in_field, strict=True)]
    )
    truth.var["motif"] = pd.Categorical([motif.kind for motif in motifs])
    truth.var["channels"] = pd.Categorical(["+".join(CHANNEL_NAMES[c] for c in motif.channels) for motif in motifs])
    truth.var["place"] = pd.Categorical([motif.place for motif in motifs])
    for column in ("radius", "extent", "bend"):
        truth.var[column] = [float(getattr(motif, column)) for motif in motifs]
    return truth


def truth_of_fields(culture: Culture, names: list[str]) -> pd.DataFrame:
    """One row per field."""
    first = [own[0] for own in culture.cells]
    obs = culture.design.obs[FIELD_COLUMNS].iloc[first].set_index(pd.Index(names, name="field"))
    obs["n_cells"] = [len(own) for own in culture.cells]
    return obs


def _centroids(labels: IntArray, n: int) -> FloatArray:
    """Centroids x, y `(n, 2)` in pixels of the ids 1 to `n`."""
    rows, columns = np.nonzero(labels)
    ids = labels[rows, columns]
    area = np.bincount(ids, minlength=n + 1)[1:, None]
    sums = np.stack([np.bincount(ids, weights=at, minlength=n + 1)[1:] for at in (columns, rows)], axis=1)
    centroids: FloatArray = sums / area
    return centroids
