from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

import saescape as sae

from .planted_features import DEAD, MODULE, N_FEATURES, PLATE, TYPES, nothing, planted


@pytest.fixture(scope="module")
def _annotated():
    adata = planted()
    sae.tl.feature_genes(adata, batch_key="donor")
    names = adata.var_names
    net = {f"set_{i}": names[MODULE * i : MODULE * (i + 1)].tolist() for i in range(N_FEATURES)}
    sae.tl.feature_enrichment(adata, net)
    sae.tl.feature_concepts(adata, ["cell_type", "dose"], batch_key="donor", nuisance_keys="plate", n_perms=60)
    return adata


@pytest.fixture
def annotated(_annotated):
    return _annotated.copy()


def test_sentences_have_the_numbers(annotated):
    sae.tl.feature_describe(annotated, batch_key="donor")
    table = annotated.uns["sae"]["features"]
    row = table.loc["sae_2"]
    rows = sae.get.feature_concepts_df(annotated, features="sae_2").query("category == 'type_2'")
    text = row["description"]
    assert text.startswith("sae_2 is active in 17 % of cells; goes with type_2 in cell_type (F1 0.9")
    assert f"precision {rows['precision'].iloc[0]:.2f}, recall {rows['recall'].iloc[0]:.2f}" in text
    first = sae.get.feature_genes_df(annotated, features="sae_2").query("effect > 0")["gene"].iloc[0]
    assert f"expression of {first}, " in text
    assert f"({int(row['n_genes'])} genes with q <= .05)" in text
    assert "enriched in set_2 (10 of 10, q = " in text
    assert "dose is higher (Spearman 0.5" in table.loc["sae_10", "description"]
    for feature in PLATE:
        assert "follows plate: plate_" in table.loc[f"sae_{feature}", "description"]
    assert table.loc[f"sae_{DEAD}", "description"] == f"sae_{DEAD} is never active."
    assert set(table["description_source"]) == {"template"}


def test_planted_features_are_detected(annotated):
    sae.tl.feature_describe(annotated, batch_key="donor", n_genes=10)
    table = annotated.uns["sae"]["features"]
    labelled = [f"sae_{i}" for i in TYPES]
    assert (table.loc[labelled, "detection_rule"] == "label").all()
    assert (table.loc[labelled, "detection"] > 0.95).all()
    others = [f"sae_{i}" for i in range(N_FEATURES - 1) if i not in TYPES]
    assert (table.loc[others, "detection_rule"] == "genes").all()
    assert (table.loc[others, "detection"] > 0.75).all()
    assert np.isnan(table.loc[f"sae_{DEAD}", "detection"])
    assert table.loc[f"sae_{DEAD}", "detection_rule"] == ""


def test_detection_is_at_chance_where_nothing_is_related():
    scores = []
    for seed in range(4):
        adata = nothing(800, 8, seed=seed)
        sae.tl.feature_genes(adata, batch_key="donor")
        sae.tl.feature_concepts(adata, "cell_type", batch_key="donor", n_perms=19)
        sae.tl.feature_describe(adata, batch_key="donor", rng=seed)
        table = adata.uns["sae"]["features"]
        assert (table["label"] == "").all()
        scores.append(table["detection"].mean())
    assert abs(np.mean(scores) - 0.5) < 0.02


def test_own_function_and_markers(annotated):
    seen = {}

    def judge(known):
        seen[known["feature"]] = known
        return f"<i>{known['label']}</i> {known['genes'][:1]}"

    markers = {"sae_12": annotated.var_names[120:130].tolist(), "sae_13": annotated.var_names[10:20].tolist()}
    sae.tl.feature_describe(annotated, describe=judge, batch_key="donor", markers=markers)
    table = annotated.uns["sae"]["features"]
    assert len(seen) == N_FEATURES - 1
    assert seen["sae_1"]["label"] == "type_1"
    assert seen["sae_1"]["gene_set"] == "set_1"
    assert seen["sae_12"]["label"] is None
    assert table.loc["sae_1", "description"].startswith("<i>type_1</i> ['gene_1")
    assert table.loc["sae_1", "description_source"] == "judge"
    assert table.loc[f"sae_{DEAD}", "description_source"] == "template"
    assert table.loc["sae_12", "detection"] > 0.75
    assert abs(table.loc["sae_13", "detection"] - 0.5) < 0.06
    assert (table["detection_rule"] == "markers").sum() == 2


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_read_from_a_file_give_the_same(annotated, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    (annotated.write_h5ad if suffix == "h5ad" else annotated.write_zarr)(path)
    read = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    for adata in (annotated, read):
        sae.tl.feature_describe(adata, batch_key="donor")
    first, again = annotated.uns["sae"]["features"], read.uns["sae"]["features"]
    assert first["description"].tolist() == again["description"].astype(str).tolist()
    np.testing.assert_allclose(again["detection"], first["detection"])


def test_parts_of_the_annotation_are_enough():
    adata = planted(300, 4)
    with pytest.raises(KeyError, match="feature_genes"):
        sae.tl.feature_describe(adata)
    adata.varm["sae_decoder"] = np.random.default_rng(0).normal(size=(adata.n_vars, N_FEATURES))
    sae.tl.feature_genes(adata, model=True)
    sae.tl.feature_describe(adata, batch_key="donor")
    table = adata.uns["sae"]["features"]
    assert "largest loadings are of gene_" in table.loc["sae_0", "description"]
    assert table["detection"].isna().all()


def test_bad_input(annotated):
    with pytest.raises(TypeError, match="`describe` must return text, found int for 'sae_0'"):
        sae.tl.feature_describe(annotated, describe=lambda _: 3)
    with pytest.raises(TypeError, match="`describe` must be a function"):
        sae.tl.feature_describe(annotated, describe="gpt")
    with pytest.raises(KeyError, match="`markers`.*sae_99"):
        sae.tl.feature_describe(annotated, markers={"sae_99": ["gene_1"]})
    with pytest.raises(KeyError, match="`markers`.*ABC"):
        sae.tl.feature_describe(annotated, markers={"sae_1": ["ABC"]})
    annotated.obs["one"] = "a"
    with pytest.raises(ValueError, match="single group"):
        sae.tl.feature_describe(annotated, batch_key="one")
    assert "description" not in annotated.uns["sae"]["features"]
