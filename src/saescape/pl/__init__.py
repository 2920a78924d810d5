from __future__ import annotations

from ._features import features
from ._gw_coupling import gw_coupling
from ._gw_links import gw_links
from ._gw_nulls import gw_nulls
from ._gw_sankey import gw_sankey
from ._representations import representations
from ._sae_sweep import sae_sweep
from ._superposition import superposition
from ._top_crops import top_crops
from ._training import training

__all__ = [
    "features",
    "gw_coupling",
    "gw_links",
    "gw_nulls",
    "gw_sankey",
    "representations",
    "sae_sweep",
    "superposition",
    "top_crops",
    "training",
]
