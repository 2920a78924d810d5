from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import SignificanceWarning

N, M, D = 400, 24, 16


def planted(seed=0, n=N, m=M, d=D):
    """Cells with codes, and the directions that the codes stand for."""
    rng = np.random.default_rng(seed)
    codes = rng.exponential(size=(n, m)) * (rng.random((n, m)) < 0.1)
    return codes.astype(np.float32), rng.normal(size=(m, d)).astype(np.float32)


def fitted(codes, decoder, *, rows=None, n_vars=30, prefix="cell", key="sae"):
    """An AnnData with slots of a fit, written by hand."""
    adata = ad.AnnData(np.zeros((len(codes), n_vars), np.float32))
    adata.obs_names = [f"{prefix}{i}" for i in range(len(codes))]
    adata.var_names = [f"gene{i}" for i in range(n_vars)]
    adata.obsm["X_rep"] = (codes @ decoder if rows is None else rows).astype(np.float32)
    with_fit(adata, codes, decoder, key)
    return adata


def with_fit(adata, codes, decoder, key):
    adata.obsm["X_sae" if key == "sae" else key] = sparse.csr_matrix(codes, dtype=np.float32)
    m, d = decoder.shape
    zeros = {"W_enc": np.zeros((d, m), np.float32), "b_enc": np.zeros(m, np.float32), "b_dec": np.zeros(d, np.float32)}
    adata.uns[key] = {
        "format": 1,
        "params": {"use_rep": "X_rep", "layer": None, "architecture": "topk", "k": 3},
        "weights": {"W_dec": np.asarray(decoder, np.float32), **zeros},
        "features": pd.DataFrame({"frac_active": (codes > 0).mean(0)}, index=[f"sae_{i}" for i in range(m)]),
        "input_names": np.array([f"rep_{i}" for i in range(d)], dtype=object),
    }


@pytest.fixture
def pair():
    """A fit, and the same features in another order, rescaled and slightly off, with ten more of their own."""
    codes, decoder = planted()
    rng = np.random.default_rng(1)
    order, extra = rng.permutation(M), planted(2, m=10)
    other_codes = np.concatenate([2 * codes[:, order], extra[0]], 1)
    other = np.concatenate([decoder[order] + 0.1 * rng.normal(size=(M, D)), extra[1]]) / 2
    return fitted(codes, decoder), fitted(other_codes, other), np.argsort(order)


@pytest.mark.parametrize("on", ["decoder", "codes", "genes"])
def test_permuted_copy_is_matched_completely(pair, on):
    adata, reference, where = pair
    rng = np.random.default_rng(3)
    loadings = rng.normal(size=(D, 30)).astype(np.float32)
    for one in (adata, reference):
        one.varm["sae_decoder"] = (one.uns["sae"]["weights"]["W_dec"] @ loadings).T
    if on == "genes":
        # other cells, of which only genes are shared
        reference.obs_names = [f"other{i}" for i in range(reference.n_obs)]
        reference = reference[:, ::-1].copy()
    sae.tl.feature_match(adata, reference, on=on)
    result = adata.uns["feature_match"]
    table = result["results"]
    expected = [f"sae_{i}" for i in where]
    assert table["match"].tolist() == table["best"].tolist() == expected
    assert table["mutual"].all()
    assert table["stable"].all()
    assert table["pvalue"].max() < 0.01
    assert result["share_stable"] == 1
    assert result["score"] > result["null_score"].max()
    assert result["null_score"].shape == (50,)
    assert result["mcc"] > 0.97
    features = adata.uns["sae"]["features"]
    assert features["match"].tolist() == expected
    assert features["stable"].all()
    assert features["match_similarity"].tolist() == table["similarity"].tolist()
    assert "frac_active" in features
    assert "match" not in reference.uns["sae"]["features"]


def test_features_without_counterpart_are_not_stable():

    for on in ("decoder", "codes"):
        rates, pvalues = [], []
        for seed in range(5):
            codes, decoder = planted(10 + seed, m=60)
            other = planted(50 + seed, m=60)
            adata, reference = fitted(codes, decoder), fitted(*other)
            sae.tl.feature_match(adata, reference, on=on, rng=seed)
            table = adata.uns["feature_match"]["results"]
            rates.append(table["stable"].mean())
            pvalues.append((table["pvalue"] < 0.05).mean())
        assert np.mean(rates) <= 0.015, on
        assert np.mean(pvalues) < 0.09, on


def test_codes_of_one_cell_type_do_not_pass_for_the_same_feature():
    """Two models of the same cells whose features have nothing in common but the cells' types."""
    rng = np.random.default_rng(0)
    n, d = 2_000, 12
    label = rng.integers(0, 6, n)
    rows = 3 * rng.normal(size=(6, d))[label] + rng.normal(size=(n, d))

    def random_model(seed):
        projected = rows @ np.random.default_rng(seed).normal(size=(d, 40))
        codes = np.maximum(projected - np.quantile(projected, 0.9, axis=0), 0)
        return fitted(codes, np.random.default_rng(seed).normal(size=(40, d)), rows=rows)

    adata, reference = random_model(1), random_model(2)
    sae.tl.feature_match(adata, reference, on="codes")
    honest = adata.uns["feature_match"]
    assert honest["params"]["null"] == "random_features"
    assert honest["results"]["stable"].mean() <= 0.05
    del reference.obsm["X_rep"]
    with pytest.warns(SignificanceWarning, match="permuted cells only"):
        sae.tl.feature_match(adata, reference, on="codes")
    naive = adata.uns["feature_match"]
    assert naive["params"]["null"] == "permuted_cells"
    assert naive["results"]["stable"].mean() > 0.3


def test_profiles_by_association_find_planted_features():
    rng = np.random.default_rng(0)
    effects = rng.exponential(size=(12, 60)) * (rng.random((12, 60)) < 0.2)
    sides = []
    for order, prefix in ((np.arange(12), "a"), (rng.permutation(12), "b")):
        codes = rng.exponential(size=(800, 12)) * (rng.random((800, 12)) < 0.2)
        adata = fitted(codes[:, order], rng.normal(size=(12, 4)), n_vars=60, prefix=prefix)
        adata.layers["lognorm"] = (codes @ effects + 0.3 * rng.normal(size=(800, 60))).astype(np.float32)
        sides.append((adata, order))
    (adata, _), (reference, order) = sides
    sae.tl.feature_match(adata, reference, on="genes", layer="lognorm", layer_ref="lognorm")
    result = adata.uns["feature_match"]
    assert result["params"]["profile"] == "association"
    assert result["results"]["match"].tolist() == [f"sae_{i}" for i in np.argsort(order)]
    assert result["results"]["stable"].mean() > 0.9


def test_dead_features_have_a_row_without_values(pair):
    adata, reference, _ = pair
    codes = adata.obsm["X_sae"].toarray()
    codes[:, 3] = 0
    adata.obsm["X_sae"] = sparse.csr_matrix(codes)
    sae.tl.feature_match(adata, reference)
    table = adata.uns["feature_match"]["results"]
    assert len(table) == M
    assert table.loc["3", ["similarity", "pvalue", "qvalue"]].isna().all()
    assert table.loc["3", "match"] == ""
    assert not table.loc["3", "stable"]
    assert table.drop("3")["stable"].all()


def test_one_object_with_two_keys_and_its_own_names(pair):
    adata, reference, where = pair
    with_fit(adata, reference.obsm["X_sae"].toarray(), reference.uns["sae"]["weights"]["W_dec"], "two")
    copied = sae.tl.feature_match(adata, adata, key_ref="two", key_added="ours", copy=True)
    assert "ours" not in adata.uns
    assert "match" not in adata.uns["sae"]["features"]
    assert copied.uns["ours"]["results"]["match"].tolist() == [f"sae_{i}" for i in where]
    sae.tl.feature_match(adata, adata, key="two")
    assert (adata.uns["two"]["features"]["match"] != "").sum() == M
    assert "match" not in adata.uns["sae"]["features"]


def test_inputs_in_another_order_are_aligned(pair):
    adata, reference, where = pair
    entry, order = reference.uns["sae"], np.random.default_rng(0).permutation(D)
    entry["input_names"] = entry["input_names"][order]
    entry["weights"]["W_dec"] = entry["weights"]["W_dec"][:, order]
    sae.tl.feature_match(adata, reference)
    assert adata.uns["feature_match"]["results"]["match"].tolist() == [f"sae_{i}" for i in where]


def test_round_trip_and_determinism(pair, tmp_path, global_state):
    adata, reference, _ = pair
    sae.tl.feature_match(adata, reference, on="codes")
    again = sae.tl.feature_match(adata, reference, on="codes", copy=True)
    pd.testing.assert_frame_equal(adata.uns["feature_match"]["results"], again.uns["feature_match"]["results"])
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        table = read.uns["feature_match"]["results"]
        assert table["match"].tolist() == adata.uns["feature_match"]["results"]["match"].tolist()
        sae.tl.feature_match(read, reference)


def test_bad_input_changes_nothing(pair):
    adata, reference, _ = pair
    before = sorted(adata.uns["sae"]["features"].columns)
    narrow = fitted(planted()[0], planted(d=5)[1])
    with pytest.raises(ValueError, match="same input space, found 16 dimensions in `adata` and 5 in `adata_ref`"):
        sae.tl.feature_match(adata, narrow)
    renamed = reference.copy()
    renamed.uns["sae"]["input_names"] = np.array([f"pc{i}" for i in range(D)], dtype=object)
    with pytest.raises(ValueError, match="dimension 'rep_0' of `adata` is not among those of `adata_ref`"):
        sae.tl.feature_match(adata, renamed)
    reference.obs_names = [f"other{i}" for i in range(N)]
    with pytest.raises(ValueError, match="share 0 of their `obs_names`.*'cell0' and 'other0'"):
        sae.tl.feature_match(adata, reference, on="codes")
    reference.var_names = [f"ENSG{i}" for i in range(30)]
    with pytest.raises(ValueError, match=r"share 0 of their `var_names`.*gene0.*ENSG0"):
        sae.tl.feature_match(adata, reference, on="genes")
    with pytest.raises(ValueError, match="`on` must be one of"):
        sae.tl.feature_match(adata, reference, on="index")
    with pytest.raises(KeyError, match="`key_ref='none'`"):
        sae.tl.feature_match(adata, reference, key_ref="none")
    with pytest.raises(ValueError, match="`key_added='sae'` would overwrite"):
        sae.tl.feature_match(adata, reference, key_added="sae")
    with pytest.raises(ValueError, match="`n_nulls` must be at least 3"):
        sae.tl.feature_match(adata, reference, n_nulls=1)
    assert "feature_match" not in adata.uns
    assert sorted(adata.uns["sae"]["features"].columns) == before
