from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pytest
from scipy import sparse, stats

import saescape as sae
from saescape._warnings import SignificanceWarning

pytestmark = pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
FAST = {"n_pairs": 2_000, "n_perms": 9, "n_refits": 0}


def with_fit(adata, codes, decoder, use_rep=None, fvu=0.05, key=None):
    """Slots of a fit, written by hand."""
    name = key or "sae"
    adata.obsm[key or "X_sae"] = sparse.csr_matrix(codes, dtype=np.float32)
    adata.uns[name] = {
        "format": 1,
        "params": {"use_rep": use_rep, "layer": None},
        "weights": {"W_dec": np.asarray(decoder, dtype=np.float32)},
        "metrics": {} if fvu is None else {"fvu": fvu},
    }
    return adata


def oracle(use_rep="tokens", **kwargs):
    """Simulated cells with true codes and the true dictionary in place of a fit."""
    adata = sae.datasets.superposition(**{"n_obs": 150, "n_positions": 16, "n_dims": 12, "n_concepts": 24, **kwargs})
    return with_fit(adata, adata.obsm["concepts"], adata.uns["truth"]["dictionary"], use_rep)


@pytest.fixture
def adata():
    return oracle()


def run(adata, **kwargs):
    return sae.tl.superposition_score(adata, copy=True, **{**FAST, **kwargs})


def test_writes_what_it_says(adata):
    assert sae.tl.superposition_score(adata, **FAST) is None
    result = adata.uns["superposition_score"]
    assert set(result) == {
        *("score", "pvalue", "z", "null", "score_without_duplicates", "distortion", "measures", "features", "params")
    }
    assert adata.obs["superposition_score"].dtype == float
    assert list(result["features"].index[:2]) == ["sae_0", "sae_1"]
    assert list(result["measures"].columns) == ["value", "reference", "reference_kind"]
    assert result["null"]["usage"]["n_perms"] == 9
    assert len(result["null"]["assignment"]["values"]) == 9
    assert result["params"]["use_rep"] == "tokens"
    assert result["score"] == pytest.approx(
        result["measures"].loc["crowding", "value"] * result["measures"].loc["overlap", "value"]
    )
    dictionary = adata.uns["truth"]["dictionary"].astype(float)
    decoded, energy = adata.obsm["concepts"] @ dictionary, (adata.obsm["concepts"] ** 2).sum(1)
    np.testing.assert_allclose(adata.obs["superposition_score"], (decoded**2).sum(1) / energy - 1, atol=1e-5)


def test_near_zero_without_superposition():
    adata = run(oracle(n_dims=24, n_concepts=20, noise=0.0))
    result = adata.uns["superposition_score"]
    assert result["score"] < 1e-10
    assert result["pvalue"] == 1
    assert result["distortion"]["share"] < 1e-5
    assert result["distortion"]["spearman_rep"] > 0.999
    assert np.abs(adata.obs["superposition_score"]).max() < 1e-5
    assert result["measures"].loc["mean_dimensionality", "value"] == pytest.approx(1)


def test_invariances(adata):
    base = run(adata).uns["superposition_score"]
    rng = np.random.default_rng(0)
    codes, decoder = adata.obsm["concepts"].astype(float), adata.uns["truth"]["dictionary"].astype(float)
    scale, order = rng.uniform(0.2, 5, len(decoder)), rng.permutation(len(decoder))
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    rotated = adata.copy()
    rotated.obsm["tokens"] = rotated.obsm["tokens"] @ rotation
    changed = {
        "rotated": with_fit(rotated, codes, decoder @ rotation, "tokens"),
        "rescaled": with_fit(adata.copy(), codes * scale, decoder / scale[:, None], "tokens"),
        "reordered": with_fit(adata.copy(), codes[:, order], decoder[order], "tokens"),
    }
    cells = run(adata).obs["superposition_score"]
    for name, other in changed.items():
        scored = run(other)
        result = scored.uns["superposition_score"]
        assert result["score"] == pytest.approx(base["score"], rel=1e-4), name
        assert result["null"]["random_dictionary"]["sd"] == pytest.approx(
            base["null"]["random_dictionary"]["sd"], rel=1e-4
        )
        np.testing.assert_allclose(result["measures"]["value"], base["measures"]["value"], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(scored.obs["superposition_score"], cells, atol=1e-4)
        for measure in ("share", "spearman", "knn_overlap", "spearman_rep"):
            assert result["distortion"][measure] == pytest.approx(base["distortion"][measure], abs=2e-3), name
        if name != "reordered":
            assert result["pvalue"] == base["pvalue"]
            columns = ["dimensionality", "interference", "max_cosine"]
            np.testing.assert_allclose(result["features"][columns], base["features"][columns], rtol=1e-4)


def test_duplicates_are_flagged_and_the_score_given_without_them(adata):
    base = run(adata).uns["superposition_score"]
    codes, decoder = adata.obsm["concepts"], adata.uns["truth"]["dictionary"]
    halves = np.concatenate([codes, 0.5 * codes[:, :1]], 1)
    halves[:, 0] *= 0.5
    split = run(with_fit(adata, halves, np.concatenate([decoder, decoder[:1]]), "tokens")).uns["superposition_score"]
    assert list(split["features"].index[split["features"]["duplicate"]]) == ["sae_0", "sae_24"]
    assert split["score"] > base["score"]
    assert split["score_without_duplicates"] == pytest.approx(base["score"], rel=1e-5)
    assert base["score_without_duplicates"] == base["score"]


def test_dead_features_have_no_geometry(adata):
    codes = adata.obsm["concepts"].copy()
    codes[:, 5] = 0
    features = run(with_fit(adata, codes, adata.uns["truth"]["dictionary"])).uns["superposition_score"]["features"]
    assert np.isnan(features.loc["sae_5", "dimensionality"])
    assert features.loc["sae_5", "nearest"] == ""
    assert features.loc["sae_5", "frac_active"] == 0
    assert not (features["nearest"] == "sae_5").any()


def test_score_follows_contamination_over_a_grid():
    rows = []
    for seed, (ratio, density, coherence) in enumerate(
        (ratio, density, coherence) for ratio in (0.5, 1, 2, 4) for density in (0.01, 0.05) for coherence in (0.0, 0.5)
    ):
        size = {"n_positions": 24, "n_dims": 16, "n_concepts": int(16 * ratio)}
        adata = run(oracle(**size, density=density, coherence=coherence, rng=seed), n_perms=1)
        result = adata.uns["superposition_score"]
        recall = sae.metrics.knn_recall(adata.X, adata.obsm["concepts"], 10)
        rows.append((result["score"], 1 - recall, 1 - result["distortion"]["spearman_rep"]))
    score, recall_loss, rank_loss = np.array(rows).T
    assert stats.spearmanr(score, recall_loss).statistic > 0.8
    assert stats.spearmanr(score, rank_loss).statistic > 0.8


def test_deterministic_and_global_state_untouched(adata, global_state):
    first, second = run(adata).uns["superposition_score"], run(adata).uns["superposition_score"]
    np.testing.assert_array_equal(first["null"]["usage"]["values"], second["null"]["usage"]["values"])
    assert first["distortion"] == second["distortion"]
    other = run(adata, rng=1).uns["superposition_score"]
    assert other["score"] == first["score"]
    assert not np.array_equal(other["null"]["usage"]["values"], first["null"]["usage"]["values"])
    generator = run(adata, rng=np.random.default_rng(0)).uns["superposition_score"]
    assert generator["params"]["rng"] == "generator"
    np.testing.assert_array_equal(generator["null"]["usage"]["values"], first["null"]["usage"]["values"])


def test_a_cell_does_not_depend_on_the_others(adata):
    alone = run(adata[:7].copy()).obs["superposition_score"]
    np.testing.assert_allclose(alone, run(adata).obs["superposition_score"][:7], atol=1e-9)


def test_plates_are_held_only_when_asked_for():
    # two features with the same direction fire on one plate, independently of each other
    rng = np.random.default_rng(0)
    plate = np.repeat(["p0", "p1"], 150)
    decoder = np.eye(6)[[0, 1, 2, 3, 4, 5, 0]] + 0.01 * rng.normal(size=(7, 6))
    codes = rng.random((300, 7)) * (rng.random((300, 7)) < 0.3)
    codes[:, [0, 6]] = rng.random((300, 2)) * (rng.random((300, 2)) < np.where(plate == "p0", 0.6, 0.0)[:, None])
    adata = with_fit(ad.AnnData(codes @ decoder), codes, decoder)
    adata.obs["plate"] = plate
    free = run(adata, n_perms=99).uns["superposition_score"]
    blocked = run(adata, n_perms=99, batch_key="plate").uns["superposition_score"]
    assert free["score"] == blocked["score"]
    assert free["pvalue"] == 0.01
    assert blocked["pvalue"] > 0.01


def test_dense_and_sparse_codes_and_views_agree(adata):
    base = run(adata).uns["superposition_score"]
    dense = adata.copy()
    dense.obsm["X_sae"] = dense.obsm["X_sae"].toarray()
    assert run(dense).uns["superposition_score"]["score"] == base["score"]
    view = adata[:]
    assert run(view).uns["superposition_score"]["score"] == base["score"]


def test_key_use_rep_and_key_added(adata):
    codes, decoder = adata.obsm["concepts"], adata.uns["truth"]["dictionary"]
    with_fit(adata, codes, decoder, key="mine")
    adata.obsm["X_noise"] = np.random.default_rng(0).normal(size=(150, 5))
    scored = run(adata, key="mine", use_rep="X_noise", key_added="spread")
    result = scored.uns["spread"]
    assert "spread" in scored.obs
    assert "superposition_score" not in scored.uns
    assert result["params"]["key"] == "mine"
    assert result["params"]["use_rep"] == "X_noise"
    chance = result["distortion"]["knn_overlap_chance"]
    assert result["distortion"]["knn_overlap_rep"] == pytest.approx(chance, abs=0.06)
    assert run(adata, key="mine").uns["superposition_score"]["params"]["use_rep"] is None


def test_variables_that_the_fit_used_are_found_again(small):
    codes = np.maximum(np.random.default_rng(0).normal(size=(300, 6)), 0)
    with_fit(small, codes, np.random.default_rng(1).normal(size=(6, 4)))
    small.uns["sae"]["input_names"] = np.asarray(small.var_names[:4], dtype=str)
    table = run(small).uns["superposition_score"]["measures"]
    assert table.loc["effective_rank", "reference"] == 4


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_round_trip(adata, tmp_path, form):
    sae.tl.superposition_score(adata, **FAST)
    path = tmp_path / f"a.{form}"
    getattr(adata, f"write_{form}")(path)
    back = getattr(ad, f"read_{form}")(path)
    before, after = adata.uns["superposition_score"], back.uns["superposition_score"]
    assert after["score"] == before["score"]
    assert after["null"]["random_dictionary"] == before["null"]["random_dictionary"]
    np.testing.assert_array_equal(after["null"]["usage"]["values"], before["null"]["usage"]["values"])
    assert after["features"].equals(before["features"])
    np.testing.assert_array_equal(after["measures"]["value"], before["measures"]["value"])
    sae.pl.superposition(back, show=False)


def test_real_cells(pbmc):
    sae.tl.sae_fit(pbmc, 64, use_rep="X_pca", max_epochs=30, show_progress_bar=False)
    sae.tl.superposition_score(pbmc, n_perms=49, n_refits=1)
    result = pbmc.uns["superposition_score"]
    assert 0 < result["score"] < result["measures"].loc["crowding", "value"]
    # cell types: features of one type fire together, and neighbours in codes are neighbours in PCs
    assert result["null"]["assignment"]["pvalue"] < 0.1
    assert result["distortion"]["knn_overlap_rep"] > 10 * result["distortion"]["knn_overlap_chance"]


@pytest.fixture(scope="module")
def fitted():
    """Tokens with a model that can code again."""
    adata = sae.datasets.superposition(120, n_positions=6, n_dims=8, n_concepts=16, density=0.1)
    sae.tl.sae_fit(adata, 16, use_rep="tokens", k=2, max_epochs=5, show_progress_bar=False)
    return adata


def test_codes_of_a_model_are_made_again(fitted):
    result = run(fitted, n_perms=30).uns["superposition_score"]
    null = result["null"]
    assert null["reencoded"]["n_perms"] == 30
    assert result["pvalue"] == max(null["usage"]["pvalue"], null["reencoded"]["pvalue"])
    assert result["z"] == null[result["params"]["pvalue_null"]]["z"]
    assert (result["params"]["n_reencoded_cells"], result["params"]["n_reencoded_positions"]) == (120, 6)
    assert result["params"]["not_reencoded"] == ""
    again = run(fitted, n_perms=30).uns["superposition_score"]["null"]["reencoded"]["values"]
    np.testing.assert_array_equal(again, null["reencoded"]["values"])


@pytest.mark.parametrize("rule", ["omp", "fista"])
def test_the_stored_rule_of_inference_is_used(fitted, rule):
    adata = fitted.copy()
    sae.tl.sae_transform(adata, fitted, inference=rule, l0_target=1.5, show_progress_bar=False)
    null = run(adata).uns["superposition_score"]["null"]
    assert len(null["reencoded"]["values"]) == 9
    assert not np.array_equal(null["reencoded"]["values"], run(fitted).uns["superposition_score"]["null"]["reencoded"])


def test_variables_in_another_order_are_coded_again(small):
    sae.tl.sae_fit(small, 16, k=2, max_epochs=5, show_progress_bar=False)
    other = small[:, ::-1].copy()
    del other.uns["sae"], other.obsm["X_sae"]
    sae.tl.sae_transform(other, small, show_progress_bar=False)
    assert "reencoded" in run(other).uns["superposition_score"]["null"]


def test_without_model_or_rows_nothing_is_coded_again(adata, fitted):
    params = run(adata).uns["superposition_score"]["params"]
    assert (params["not_reencoded"], params["n_reencoded_cells"], params["pvalue_null"]) == ("no model", 0, "usage")
    gone = fitted.copy()
    del gone.obsm["tokens"]
    gone.obsm["X_other"] = np.asarray(gone.X)
    result = run(gone, use_rep="X_other").uns["superposition_score"]
    assert result["params"]["not_reencoded"] == "representation not found"
    assert "reencoded" not in result["null"]
    changed = fitted.copy()
    changed.obsm["X_sae"] = changed.obsm["X_sae"] * np.float32(2)
    with pytest.warns(SignificanceWarning, match="not those that the stored model gives"):
        result = run(changed).uns["superposition_score"]
    assert result["params"]["not_reencoded"] == "codes are not those of the model"


def test_batches_of_one_and_a_single_feature(adata):
    adata.obs["plate"] = ["alone", *["rest"] * (adata.n_obs - 1)]
    assert np.isfinite(run(adata, batch_key="plate").uns["superposition_score"]["score"])
    codes = np.abs(np.random.default_rng(0).normal(size=(20, 1)))
    result = run(with_fit(ad.AnnData(codes @ np.ones((1, 3))), codes, np.ones((1, 3)))).uns["superposition_score"]
    assert result["score"] == 0
    assert result["pvalue"] == 1
    assert result["measures"].loc[["babel", "isometry_defect", "total_dimensionality"], "value"].tolist() == (
        pytest.approx([0, 0, 1], abs=1e-6)
    )


def test_all_pairs_are_taken_when_more_are_asked_for(adata):
    result = run(adata, n_pairs=10**6).uns["superposition_score"]
    assert result["params"]["n_pairs"] == 10**6
    assert result["distortion"]["n_pairs"] == 150 * 149 // 2


def messages(adata, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(adata, **kwargs)
    return [str(w.message) for w in caught if w.category is SignificanceWarning]


def test_warnings(adata):
    codes, decoder = adata.obsm["concepts"], adata.uns["truth"]["dictionary"]
    assert any("64% of the variance" in m for m in messages(with_fit(adata.copy(), codes, decoder, fvu=0.64)))
    assert any("is not known" in m for m in messages(with_fit(adata.copy(), codes, decoder, fvu=None)))
    assert any("50 observations are few" in m for m in messages(adata[:50].copy()))
    assert any("does not mean that there is no" in m for m in messages(oracle(n_dims=24, n_concepts=20)))
    # features that fire together and overlap, in enough cells and fitted well: nothing to say
    rng = np.random.default_rng(0)
    on = np.repeat(rng.random((200, 4)) < 0.3, 2, axis=1)
    aligned = np.repeat(np.eye(4), 2, axis=0) + 0.3 * rng.normal(size=(8, 4))
    codes = on * rng.random((200, 8))
    assert messages(with_fit(ad.AnnData(codes @ aligned), codes, aligned), n_perms=99) == []


def broken(adata, case):
    codes, decoder = adata.obsm["concepts"].copy(), adata.uns["truth"]["dictionary"].copy()
    match case:
        case "no fit":
            del adata.uns["sae"]
        case "no codes":
            del adata.obsm["X_sae"]
        case "no weights":
            adata.uns["sae"] = {"params": {}}
        case "shapes":
            with_fit(adata, codes, decoder[:-1], "tokens")
        case "nan codes":
            codes[3, 4] = np.nan
            with_fit(adata, codes, decoder, "tokens")
        case "nan decoder":
            decoder[1, 2] = np.inf
            with_fit(adata, codes, decoder, "tokens")
        case "nan rep":
            adata.obsm["tokens"][2, 1, 0] = np.nan
        case "negative":
            with_fit(adata, codes - 0.1, decoder, "tokens")
        case "zero":
            with_fit(adata, 0 * codes, decoder, "tokens")
        case "rep gone":
            del adata.obsm["tokens"]
        case "batch nan":
            adata.obs["plate"] = [np.nan, *["a"] * (adata.n_obs - 1)]
        case "batch single":
            adata.obs["plate"] = [f"p{i}" for i in range(adata.n_obs)]
    return adata


@pytest.mark.parametrize(
    ("case", "kwargs", "error", "match"),
    [
        ("no fit", {}, KeyError, "sae_fit"),
        ("no codes", {}, KeyError, "sae_fit"),
        ("no weights", {}, KeyError, "W_dec.*sae_fit"),
        ("", {"key": "other"}, KeyError, "`key='other'`"),
        ("shapes", {}, ValueError, "24 features, but .* shape \\(23, 12\\)"),
        ("nan codes", {}, ValueError, "X_sae.*1 non-finite"),
        ("nan decoder", {}, ValueError, "W_dec.*1 non-finite"),
        ("nan rep", {}, ValueError, "tokens.*1 non-finite.*\\(2, 1, 0\\)"),
        ("negative", {}, ValueError, "negative"),
        ("zero", {}, ValueError, "no active feature"),
        ("rep gone", {}, KeyError, "tokens"),
        ("", {"use_rep": "X_missing"}, KeyError, "`use_rep='X_missing'`"),
        ("", {"batch_key": "plate"}, KeyError, "`batch_key='plate'`"),
        ("batch nan", {"batch_key": "plate"}, ValueError, "missing for 1 observation"),
        ("batch single", {"batch_key": "plate"}, ValueError, "single observation"),
        ("", {"n_perms": 0}, ValueError, "`n_perms` must be at least 1"),
        ("", {"n_pairs": 0}, ValueError, "`n_pairs` must be at least 1"),
        ("", {"n_perms": 2.5}, TypeError, "`n_perms` must be an integer"),
        ("", {"key_added": "sae"}, ValueError, "`key_added='sae'` would overwrite"),
    ],
)
def test_bad_input_changes_nothing(adata, case, kwargs, error, match):
    adata = broken(adata, case)
    before = (list(adata.obs), list(adata.uns), list(adata.obsm))
    with pytest.raises(error, match=match):
        sae.tl.superposition_score(adata, **{**FAST, **kwargs})
    assert (list(adata.obs), list(adata.uns), list(adata.obsm)) == before


def test_one_cell_and_other_types(adata):
    with pytest.raises(ValueError, match="At least 2 observations"):
        sae.tl.superposition_score(adata[:1].copy())
    with pytest.raises(TypeError, match="`adata` must be an AnnData"):
        sae.tl.superposition_score(adata.X)


def test_two_cells_and_one_active_feature():
    codes = np.array([[1.0, 0.0], [2.0, 0.0]])
    adata = run(with_fit(ad.AnnData(codes), codes, np.eye(2)))
    result = adata.uns["superposition_score"]
    assert result["score"] == 0
    assert result["pvalue"] == 1
    assert result["measures"].loc["n_alive", "value"] == 1


def test_refits_tell_sparse_tokens_from_gaussian_ones():
    adata = sae.datasets.superposition(80, n_positions=16, n_dims=12, n_concepts=24, density=0.06)
    sae.tl.sae_fit(adata, 32, use_rep="tokens", k=3, max_epochs=30, show_progress_bar=False)
    settings = FAST | {"n_refits": 1}
    sae.tl.superposition_score(adata, **settings)
    result = adata.uns["superposition_score"]
    assert result["null"]["gaussian"]["sparse_gain"] > 0.5
    assert result["null"]["gaussian"]["k"] == 3
    assert result["params"]["not_refitted"] == ""
    np.testing.assert_array_equal(
        sae.tl.superposition_score(adata, **settings, copy=True).uns["superposition_score"]["null"]["gaussian"]["fvu"],
        result["null"]["gaussian"]["fvu"],
    )

    rng = np.random.default_rng(0)
    tokens = adata.obsm["tokens"]
    adata.obsm["tokens"] = rng.normal(size=tokens.shape).astype(np.float32)
    sae.tl.sae_fit(adata, 32, use_rep="tokens", k=3, max_epochs=10, show_progress_bar=False)
    with pytest.warns(SignificanceWarning, match="hardly better than Gaussian data"):
        sae.tl.superposition_score(adata, **settings)
    assert abs(adata.uns["superposition_score"]["null"]["gaussian"]["sparse_gain"]) < 0.1


def test_refits_that_are_not_possible_say_why(adata):
    assert run(adata).uns["superposition_score"]["params"]["not_refitted"] == "n_refits=0"
    assert run(adata, n_refits=1).uns["superposition_score"]["params"]["not_refitted"] == "no model"
    with pytest.raises(ValueError, match="`n_refits` must be at least 0"):
        run(adata, n_refits=-1)
