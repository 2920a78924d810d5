from __future__ import annotations

from ._feature_maps import feature_maps
from ._feature_report import feature_report
from ._features import features
from ._gw_coupling import gw_coupling
from ._gw_links import gw_links
from ._gw_nulls import gw_nulls
from ._gw_sankey import gw_sankey
from ._qc import qc
from ._representations import representations
from ._sae_sweep import sae_sweep
from ._superposition import superposition
from ._top_crops import top_crops
from ._training import training
from ._volcano import volcano

__all__ = [
    "feature_maps",
    "feature_report",
    "features",
    "gw_coupling",
    "gw_links",
    "gw_nulls",
    "gw_sankey",
    "qc",
    "representations",
    "sae_sweep",
    "superposition",
    "top_crops",
    "training",
    "volcano",
]
