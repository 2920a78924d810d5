from __future__ import annotations

from ._blood_smear import blood_smear
from ._neurons import neurons
from ._nf1_cell_painting import nf1_cell_painting
from ._paired import paired
from ._pbmc_halves import pbmc_halves
from ._programs import programs
from ._superposition import superposition
from ._visium_brain_crop import visium_brain_crop

__all__ = [
    "blood_smear",
    "neurons",
    "nf1_cell_painting",
    "paired",
    "pbmc_halves",
    "programs",
    "superposition",
    "visium_brain_crop",
]
