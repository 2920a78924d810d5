from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._fields import ImageFields

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from anndata import AnnData

    from saescape._typing import BoolArray, IntArray


@dataclass(frozen=True, kw_only=True)
class NeuronFields(ImageFields):
    """Simulated fields of view with everything that is known about them.

    Attributes
    ----------
    images
        Image `(C, Y, X)` or `(C, Z, Y, X)` of each field, uint16.
    channel_names
        Names of the channels.
    obs
        One row per field: `condition`, `line`, `plate`, `well`, `n_cells`.
    labels
        Cells `(Y, X)` of each field, int32, 0 for background.
    boxes, cells
        None.
    nuclei
        Nuclei of each field, with the ids of their cells.
    concept_masks
        Where each concept is in each field, bool `(n_concepts, Y, X)`; kept packed, unpacked at each access.
    truth
        One row per cell, one variable per concept.
    rna
        RNA of other cells of the same culture, or None.
    """

    labels: Mapping[str, np.ndarray]
    nuclei: Mapping[str, IntArray]
    concept_masks: Mapping[str, BoolArray]
    truth: AnnData
    rna: AnnData | None = None
