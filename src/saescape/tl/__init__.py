from __future__ import annotations

from ._compare_representations import compare_representations
from ._gw_links import gw_links
from ._gw_map import gw_map
from ._gw_transfer import gw_transfer
from ._sae_fit import sae_fit
from ._sae_sweep import sae_sweep
from ._sae_transform import sae_transform
from ._superposition_score import superposition_score

__all__ = [
    "compare_representations",
    "gw_links",
    "gw_map",
    "gw_transfer",
    "sae_fit",
    "sae_sweep",
    "sae_transform",
    "superposition_score",
]
