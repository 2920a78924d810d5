from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def linked():
    """An AnnData with links as `tl.gw_links` stores them: 6 features x 9 genes in two modules, three without."""
    return make_linked()


def make_linked(n_features=6, n_genes=9, modules=("module_0", "module_1"), seed=0):
    """Features take turns in driving one module each; the last third of the genes has no module and no links."""
    rng = np.random.default_rng(seed)
    code = np.full(n_genes, -1)
    linked = np.arange(n_genes - n_genes // 3)
    code[linked] = linked % max(len(modules), 1) if modules else -1
    zscore = rng.normal(size=(n_features, n_genes))
    drives = np.arange(n_features)[:, None] % max(len(modules), 1) == code
    sign = np.where(np.arange(n_features) % 3 == 2, -1, 1)[:, None]
    zscore = np.where(drives, sign * (5 + np.abs(zscore)), zscore)
    qvalue = np.where(drives, 0.01, 0.5)
    features = np.array([f"sae_{i}" for i in range(n_features)])
    genes = pd.DataFrame(
        {"module": pd.Categorical.from_codes(code, categories=list(modules))},
        index=[f"G{i}" for i in range(n_genes)],
    )
    adata = ad.AnnData(np.ones((4, 1)))
    adata.uns["gw_links"] = {
        "correlation": (zscore / 20).astype(np.float32),
        "null_mean": np.zeros(zscore.shape, dtype=np.float32),
        "null_sd": np.full(zscore.shape, 0.05, dtype=np.float32),
        "zscore": zscore.astype(np.float32),
        "pvalue": (qvalue / 10).astype(np.float32),
        "qvalue": qvalue.astype(np.float32),
        "features": features,
        "genes": genes,
        "modules": pd.DataFrame(
            {"n_genes": [int(np.sum(code == i)) for i in range(len(modules))]}, index=list(modules)
        ),
        "pvalue_global": 0.02,
        "params": {"feature_key": "sae"},
    }
    return adata
