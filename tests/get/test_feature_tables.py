from __future__ import annotations

import pytest

import saescape as sae


def test_tables_are_selected(pbmc):
    with pytest.raises(KeyError, match="feature_genes"):
        sae.get.feature_genes_df(pbmc)
    sae.tl.sae_fit(pbmc, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    pbmc.obs["donor"] = [f"donor_{i % 4}" for i in range(pbmc.n_obs)]
    sae.tl.feature_genes(pbmc, use_raw=True, batch_key="donor", min_cells=3)
    sae.tl.feature_concepts(pbmc, ["phase", "S_score"], batch_key="donor", n_perms=19)
    df = sae.get.feature_genes_df(pbmc, features=["sae_3", "sae_1"], max_qvalue=0.05, n_top=2)
    assert df.groupby("feature", observed=True).size().max() <= 2
    assert set(df["feature"]) <= {"sae_1", "sae_3"}
    assert (df["qvalue"] <= 0.05).all()
    stored = pbmc.uns["sae_genes"]["results"]
    first = stored[(stored["feature"] == "sae_3") & (stored["qvalue"] <= 0.05)]["gene"].tolist()[:2]
    assert df.loc[df["feature"] == "sae_3", "gene"].tolist() == first
    assert len(sae.get.feature_genes_df(pbmc)) == len(stored)
    assert len(sae.get.feature_concepts_df(pbmc, features="sae_0")) == 4
    df.loc[:, "effect"] = 0
    assert not (stored["effect"] == 0).all()
    with pytest.raises(KeyError, match="sae_900"):
        sae.get.feature_genes_df(pbmc, features="sae_900")
    with pytest.raises(ValueError, match="`max_qvalue`"):
        sae.get.feature_genes_df(pbmc, max_qvalue=2)
    pbmc.uns["sae_enrichment"] = 3
    with pytest.raises(ValueError, match="holds no annotation"):
        sae.get.feature_enrichment_df(pbmc)
