from __future__ import annotations

from ._compare_representations import compare_representations
from ._feature_concepts import feature_concepts
from ._feature_describe import feature_describe
from ._feature_enrichment import feature_enrichment
from ._feature_genes import feature_genes
from ._feature_maps import feature_maps
from ._feature_match import feature_match
from ._feature_modules import feature_modules
from ._feature_scores import feature_scores
from ._feature_stability import feature_stability
from ._gw_links import gw_links
from ._gw_map import gw_map
from ._gw_transfer import gw_transfer
from ._sae_fit import sae_fit
from ._sae_sweep import sae_sweep
from ._sae_transform import sae_transform
from ._steer import steer
from ._superposition_score import superposition_score

__all__ = [
    "compare_representations",
    "feature_concepts",
    "feature_describe",
    "feature_enrichment",
    "feature_genes",
    "feature_maps",
    "feature_match",
    "feature_modules",
    "feature_scores",
    "feature_stability",
    "gw_links",
    "gw_map",
    "gw_transfer",
    "sae_fit",
    "sae_sweep",
    "sae_transform",
    "steer",
    "superposition_score",
]
