from __future__ import annotations

from ._coupling_df import coupling_df
from ._crops import crops
from ._feature_concepts_df import feature_concepts_df
from ._feature_enrichment_df import feature_enrichment_df
from ._feature_genes_df import feature_genes_df
from ._features import features
from ._gw_expression import gw_expression
from ._gw_links_df import gw_links_df
from ._sae import sae

__all__ = [
    "coupling_df",
    "crops",
    "feature_concepts_df",
    "feature_enrichment_df",
    "feature_genes_df",
    "features",
    "gw_expression",
    "gw_links_df",
    "sae",
]
