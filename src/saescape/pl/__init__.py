from __future__ import annotations

from ._features import features
from ._gw_coupling import gw_coupling
from ._representations import representations
from ._sae_sweep import sae_sweep
from ._superposition import superposition
from ._top_crops import top_crops
from ._training import training

__all__ = ["features", "gw_coupling", "representations", "sae_sweep", "superposition", "top_crops", "training"]
