from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse, stats

import saescape as sae
from saescape._warnings import SignificanceWarning

N, M, D = 300, 20, 12


def by_hand(adata, codes, decoder, use_rep, names, key="sae"):
    adata.obsm["X_sae" if key == "sae" else key] = sparse.csr_matrix(codes, dtype=np.float32)
    adata.uns[key] = {
        "format": 1,
        "params": {"use_rep": use_rep, "layer": None},
        "weights": {"W_dec": np.asarray(decoder, np.float32), "b_dec": np.full(decoder.shape[1], 0.5, np.float32)},
        "features": pd.DataFrame(index=[f"sae_{i}" for i in range(len(decoder))]),
        "input_names": np.asarray(names, dtype=object),
    }
    return adata


@pytest.fixture
def planted():
    """A fit of `X_pca` with components, four donors, two groups of which one has feature 0, and a residual."""
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(N, M)) * (rng.random((N, M)) < 0.2)
    codes[:, 0] = rng.uniform(1, 2, N) * (np.arange(N) % 3 == 0)
    decoder = rng.normal(size=(M, D))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    adata = ad.AnnData(np.zeros((N, 25), np.float32))
    adata.var_names = [f"gene{i}" for i in range(25)]
    adata.obsm["X_pca"] = (codes @ decoder + 0.5 + 0.1 * rng.normal(size=(N, D))).astype(np.float32)
    adata.varm["PCs"] = np.linalg.qr(rng.normal(size=(25, D)))[0]
    adata.obs["group"] = np.where(codes[:, 0] > 0, "with", "without")
    adata.obs["donor"] = [f"d{i % 4}" for i in range(N)]
    return by_hand(adata, codes, decoder, "X_pca", [f"pca_{i}" for i in range(D)])


def test_null_edits_give_back_the_data_bit_by_bit(planted):
    planted.obsm["X_pca"][0, :2] = [-0.0, np.float32(1e-42)]
    for arguments in ({"factor": 1}, {"factor": 0, "mode": "add"}):
        sae.tl.steer(planted, "sae_0", **arguments)
        steered = planted.obsm["X_steered"]
        assert steered.dtype == np.float32
        assert steered.tobytes() == planted.obsm["X_pca"].tobytes()
        assert planted.uns["steer"]["doses"]["n_changed"].tolist() == [0, 0, 0]
        np.testing.assert_array_equal(planted.uns["steer"]["effects"]["effect"], 0)
        assert planted.uns["steer"]["doses"]["distance_ratio"].tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("mode", "factor", "new"),
    [
        ("scale", 2.5, lambda z: 2.5 * z),
        ("set", 0.7, lambda z: np.full_like(z, 0.7)),
        ("add", 0.4, lambda z: z + 0.4),
        ("add", -1.5, lambda z: np.maximum(z - 1.5, 0)),
        ("ablate", None, np.zeros_like),
    ],
)
def test_edits_are_those_of_the_formula(planted, mode, factor, new):
    before = planted.obsm["X_pca"].copy()
    sae.tl.steer(planted, ["sae_0", 4], factor, mode=mode)
    z, decoder = planted.obsm["X_sae"].toarray(), planted.uns["sae"]["weights"]["W_dec"]
    steered = z.copy()
    steered[:, [0, 4]] = new(z[:, [0, 4]])
    np.testing.assert_allclose(planted.obsm["X_steered"], before + (steered - z) @ decoder, atol=1e-5)
    np.testing.assert_array_equal(planted.obsm["X_pca"], before)
    unchanged = (steered == z).all(1)
    np.testing.assert_array_equal(planted.obsm["X_steered"][unchanged], before[unchanged])
    sae.tl.steer(planted, ["sae_0", 4], factor, mode=mode, keep_error=False, key_added="decoded")
    np.testing.assert_allclose(planted.obsm["decoded"], steered @ decoder + 0.5, atol=1e-5)


def test_without_the_error_a_null_edit_is_the_reconstruction(planted):
    sae.tl.steer(planted, 0, 1, keep_error=False)
    decoded = planted.obsm["X_sae"] @ planted.uns["sae"]["weights"]["W_dec"] + 0.5
    np.testing.assert_allclose(planted.obsm["X_steered"], decoded, atol=1e-6)
    assert np.abs(planted.obsm["X_steered"] - planted.obsm["X_pca"]).max() > 0.1


def test_gene_effects_through_components(planted):
    sae.tl.steer(planted, 0, [0.5, 3], batch_key="donor")
    table = planted.uns["steer"]["effects"]
    assert planted.uns["steer"]["params"]["path"] == "PCs"
    loadings = planted.varm["PCs"] @ planted.uns["sae"]["weights"]["W_dec"][0]
    z, donor = planted.obsm["X_sae"].toarray()[:, 0], planted.obs["donor"]
    by_donor = pd.Series(z[z > 0]).groupby(donor[z > 0].to_numpy()).mean()
    for factor in (0.5, 3):
        here = table[table["factor"] == factor].set_index("variable")
        assert here.index.tolist() == planted.var_names.tolist()
        groups = (factor - 1) * by_donor.to_numpy()[:, None] * loadings
        np.testing.assert_allclose(here["effect"], groups.mean(0), rtol=1e-4)
        np.testing.assert_allclose(here["effect_sd"], groups.std(0, ddof=1), rtol=1e-4)
        test = stats.ttest_1samp(groups, 0)
        np.testing.assert_allclose(here["statistic"], test.statistic, rtol=1e-4)
        np.testing.assert_allclose(here["pvalue"], test.pvalue, rtol=1e-3)
        assert (here["n_groups"] == 4).all()
        np.testing.assert_allclose(here["qvalue"], stats.false_discovery_control(here["pvalue"]))
    # effects are linear in the dose, in the direction of the loadings
    np.testing.assert_allclose(table["effect"][:25] * -4, table["effect"][25:], rtol=1e-4)


def test_a_decoder_of_the_user(planted):
    components = planted.varm["PCs"].astype(np.float32)
    sae.tl.steer(planted, 0, 2, batch_key="donor", key_added="linear")
    sae.tl.steer(planted, 0, 2, batch_key="donor", decoder=lambda x: x @ components.T, key_added="called")
    first, second = planted.uns["linear"]["effects"], planted.uns["called"]["effects"]
    for column in ("effect", "statistic", "control", "specificity"):
        np.testing.assert_allclose(first[column], second[column], rtol=2e-3, atol=1e-4)
    assert second["variable"].tolist() == planted.var_names.tolist()

    def named(x):
        assert x.dtype == np.float32
        return pd.DataFrame(np.exp(0.1 * x[:, :2]), columns=["a", "b"])

    sae.tl.steer(planted, 0, 2, decoder=named)
    table = planted.uns["steer"]["effects"]
    assert table["variable"].tolist() == ["a", "b"]
    moved = planted.obsm["X_sae"].toarray()[:, 0] > 0
    change = np.exp(0.1 * planted.obsm["X_steered"][:, :2]) - np.exp(0.1 * planted.obsm["X_pca"][:, :2])
    np.testing.assert_allclose(table["effect"], change[moved].mean(0), rtol=1e-4)


@pytest.mark.parametrize("storage", ["dense", "csr", "float64", "masked"])
def test_models_of_variables_are_steered_in_a_layer(small, storage):
    x = small.X if storage != "csr" else small.layers["csr"]
    small.X = x.astype(np.float64) if storage == "float64" else x
    names = small.var_names[::2] if storage == "masked" else small.var_names
    rng = np.random.default_rng(0)
    codes, decoder = rng.exponential(size=(300, 6)) * (rng.random((300, 6)) < 0.3), rng.normal(size=(6, len(names)))
    by_hand(small, codes, decoder, None, names)
    sae.tl.steer(small, 1, 3)
    steered = small.layers["steered"]
    assert sparse.issparse(steered) == (storage == "csr")
    assert steered.dtype == small.X.dtype
    before, after = (a.toarray() if sparse.issparse(a) else a for a in (small.X, steered))
    expected = before.astype(np.float64)
    expected[:, small.var_names.get_indexer(names)] += 2 * codes[:, [1]] * decoder[1]
    np.testing.assert_allclose(after, expected, atol=1e-4)
    effects = small.uns["steer"]["effects"]
    assert small.uns["steer"]["params"]["path"] == "variables"
    moved = codes[:, 1] > 0
    np.testing.assert_allclose(effects["effect"], (expected - before)[moved].mean(0), atol=1e-4)
    sae.tl.steer(small, 1, 1, key_added="same")
    same = small.layers["same"]
    assert (same != small.X).nnz == 0 if storage == "csr" else same.tobytes() == np.asarray(small.X).tobytes()
    sae.tl.steer(small, 1, 3, keep_error=False, key_added="decoded")
    decoded = small.layers["decoded"]
    position = small.var_names.get_indexer(names)
    changed = codes.copy()
    changed[:, 1] *= 3
    np.testing.assert_allclose(decoded[:, position], changed @ decoder + 0.5, atol=1e-4)
    others = np.setdiff1d(np.arange(20), position)
    np.testing.assert_array_equal(decoded[:, others], before[:, others])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_position_of_tokens_is_edited(small):
    sae.tl.sae_fit(small, 24, k=2, use_rep="tokens", max_epochs=3, inference="encoder", show_progress_bar=False)
    name = small.uns["sae"]["features"]["frac_active"].idxmax()
    sae.tl.steer(small, name, 2)
    steered = small.obsm["X_steered"]
    assert steered.shape == (300, 4, 20)
    model = sae.get.sae(small)
    number = small.uns["sae"]["features"].index.get_loc(name)
    codes = model.transform(small.obsm["tokens"].reshape(-1, 20)).toarray()[:, number]
    expected = small.obsm["tokens"].reshape(-1, 20) + codes[:, None] * model.W_dec_[number]
    np.testing.assert_allclose(steered.reshape(-1, 20), expected, atol=1e-4)
    sae.tl.steer(small, name, 1)
    np.testing.assert_array_equal(small.obsm["X_steered"], small.obsm["tokens"])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("standardize", ["center", "zscore"])
def test_a_fit_is_steered_in_the_units_of_its_input(small, standardize):
    small.X = small.X * np.linspace(0.1, 30, 20, dtype=np.float32)
    sae.tl.sae_fit(small, 24, k=3, standardize=standardize, max_epochs=20, show_progress_bar=False)
    name = small.uns["sae"]["features"]["frac_active"].idxmax()
    model = sae.get.sae(small)
    number = small.uns["sae"]["features"].index.get_loc(name)
    sae.tl.steer(small, name, mode="ablate")
    codes = small.obsm["X_sae"].toarray()
    without = codes.copy()
    without[:, number] = 0
    change = model.inverse_transform(without) - model.inverse_transform(codes)
    np.testing.assert_allclose(small.layers["steered"] - small.X, change, atol=2e-3)


def test_leaving_the_manifold_is_flagged():
    """Cells on a ring: the tangent at one place leads away from it, a short step does not."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 600)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.01 * rng.normal(size=(600, 2))
    adata = ad.AnnData(np.zeros((600, 1), np.float32))
    adata.obsm["X_ring"] = ring.astype(np.float32)
    codes = np.zeros((600, 2))
    codes[:, 0] = np.abs(angle) < 0.3
    codes[:, 1] = rng.random(600)
    by_hand(adata, codes, np.array([[0.0, 1.0], [1.0, 0.0]]), "X_ring", ["ring_0", "ring_1"])
    sae.tl.steer(adata, 0, [1.02, 3])
    doses = adata.uns["steer"]["doses"].query("kind == 'feature'")
    assert doses["off_manifold"].tolist() == [False, True]
    assert doses["distance_ratio"].iloc[0] < 1.2
    assert doses["distance_ratio"].iloc[1] > 3
    assert len(adata.uns["steer"]["effects"]) == 0
    assert adata.uns["steer"]["params"]["path"] == "none"


def test_a_planted_axis_moves_cells_into_its_label_and_controls_do_not():
    rng = np.random.default_rng(0)
    n, d, m = 1_200, 10, 30
    codes = rng.exponential(size=(n, m)) * (rng.random((n, m)) < 0.1)
    label = rng.random(n) < 0.4
    codes[:, 0] = np.where(label, 4 + 0.5 * rng.random(n), 0.5 * rng.random(n))
    decoder = np.linalg.qr(rng.normal(size=(d, d)))[0][np.arange(m) % d]
    decoder[10:] = rng.normal(size=(20, d))
    decoder[10:] -= np.outer(decoder[10:] @ decoder[0], decoder[0])
    decoder[10:] /= np.linalg.norm(decoder[10:], axis=1, keepdims=True)
    adata = ad.AnnData(np.zeros((n, 3), np.float32))
    adata.obsm["X_rep"] = (codes @ decoder + 0.1 * rng.normal(size=(n, d))).astype(np.float32)
    adata.obs["label"] = np.where(label, "on", "off")
    by_hand(adata, codes, decoder, "X_rep", [f"rep_{i}" for i in range(d)])
    sae.tl.steer(adata, 0, [1.0, 2.0, 4.2], mode="set", groupby="label")
    table = adata.uns["steer"]["labels"].query("label == 'on'")
    # the share of the label rises with the dose
    assert (np.diff(table["share_after"]) > 0).all()
    assert table["share_after"].iloc[-1] > 0.9
    top = table.iloc[-1]
    assert top["change"] == pytest.approx(top["share_after"] - top["share_before"])
    assert abs(top["change"]) > 5 * top["random_feature"]
    # the axis is one of large variance, so that random directions of the data have a part in it
    assert abs(top["change"]) > 1.5 * top["random_direction"]
    shares = adata.uns["steer"]["labels"].groupby("factor")[["share_before", "share_after"]].sum()
    np.testing.assert_allclose(shares, 1)


def test_specificity_is_one_for_a_direction_like_any_other():
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.normal(size=(500, 40)).astype(np.float32))
    codes, decoder = rng.exponential(size=(500, 30)), rng.normal(size=(30, 40))
    decoder[0] = 0
    decoder[0, 3] = 1
    by_hand(adata, codes, decoder, None, adata.var_names)
    sae.tl.steer(adata, 0, 2, n_controls=40)
    concentrated = adata.uns["steer"]["effects"]["specificity"]
    assert concentrated["3"] > 4
    assert (concentrated.drop("3") == 0).all()
    sae.tl.steer(adata, 5, 2, n_controls=40)
    assert 0.5 < np.sqrt(np.mean(adata.uns["steer"]["effects"]["specificity"] ** 2)) < 2


def test_doses_have_slots_of_their_own(planted):
    sae.tl.steer(planted, 0, [0.5, 1, 2], key_added="curve", groupby="group")
    for factor in ("0.5", "1", "2"):
        assert f"curve_{factor}" in planted.obsm
    doses = planted.uns["curve"]["doses"]
    assert doses["factor"].tolist() == [0.5] * 3 + [1] * 3 + [2] * 3
    assert doses["kind"].tolist() == ["feature", "random_feature", "random_direction"] * 3
    np.testing.assert_allclose(doses.query("factor == 2")["shift"], 2 * doses.query("factor == 0.5")["shift"])
    # tables of a dose do not depend on how many doses there are, but for the draws of the controls
    sae.tl.steer(planted, 0, 0.5, key_added="one")
    one, curve = (planted.uns[key]["effects"].query("factor == 0.5") for key in ("one", "curve"))
    pd.testing.assert_frame_equal(one, curve)
    assert "sae_0" not in set(planted.uns["curve"]["params"]["control_features"])


def test_few_groups_give_effects_without_pvalues(planted):
    planted.obs["two"] = [f"d{i % 2}" for i in range(N)]
    with pytest.warns(SignificanceWarning, match="Codes change in 2 groups of `batch_key='two'`"):
        sae.tl.steer(planted, 0, 2, batch_key="two")
    table = planted.uns["steer"]["effects"]
    assert table["pvalue"].isna().all()
    assert table["effect"].abs().max() > 0


def test_features_that_never_fire(planted):
    codes = planted.obsm["X_sae"].toarray()
    codes[:, 7] = 0
    planted.obsm["X_sae"] = sparse.csr_matrix(codes)
    sae.tl.steer(planted, 7, 5)
    np.testing.assert_array_equal(planted.obsm["X_steered"], planted.obsm["X_pca"])
    sae.tl.steer(planted, 7, 1, mode="add")
    assert planted.uns["steer"]["doses"]["n_changed"].iloc[0] == N
    assert "sae_7" not in set(planted.uns["steer"]["params"]["control_features"])


def test_round_trip_determinism_copy_and_wrong_order(planted, tmp_path, global_state):
    first = sae.tl.steer(planted, 0, [0, 2], batch_key="donor", groupby="group", copy=True)
    second = sae.tl.steer(planted, 0, [0, 2], batch_key="donor", groupby="group", copy=True)
    assert "steer" not in planted.uns
    for name in ("doses", "effects", "labels"):
        pd.testing.assert_frame_equal(first.uns["steer"][name], second.uns["steer"][name])
    first.write_h5ad(tmp_path / "a.h5ad")
    first.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(read.obsm["X_steered_2"], first.obsm["X_steered_2"])
        sae.tl.steer(read, "sae_0", 2)
        np.testing.assert_array_equal(read.obsm["X_steered"], first.obsm["X_steered_2"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_after_a_real_fit(pbmc):
    sc.pp.pca(pbmc, n_comps=20)
    sae.tl.sae_fit(pbmc, 48, use_rep="X_pca", k=4, max_epochs=30, show_progress_bar=False)
    feature = pbmc.uns["sae"]["features"]["frac_active"].idxmax()
    sae.tl.steer(pbmc, feature, mode="ablate", groupby="bulk_labels")
    effect = pbmc.uns["steer"]["effects"].set_index("variable")["effect"]
    loading = pd.Series(pbmc.varm["sae_decoder"][:, int(feature.split("_")[1])], index=pbmc.var_names)
    np.testing.assert_allclose(effect.corr(-loading), 1, atol=1e-5)


def test_bad_input_changes_nothing(planted):
    for arguments, error, message in (
        ({"feature": "none", "factor": 1}, KeyError, "there is no feature 'none'"),
        ({"feature": 20, "factor": 1}, ValueError, r"`feature` must be between 0 and `number of features - 1` \(19\)"),
        ({"feature": [1, "sae_1"], "factor": 1}, ValueError, "one or more different features"),
        ({"feature": 0}, ValueError, "`factor` is needed with `mode='scale'`"),
        ({"feature": 0, "factor": -1}, ValueError, "`factor` must be at least 0"),
        ({"feature": 0, "factor": [1, 1]}, ValueError, "different doses"),
        ({"feature": 0, "factor": []}, ValueError, "different doses"),
        ({"feature": 0, "factor": 1, "mode": "ablate"}, ValueError, "no meaning"),
        ({"feature": 0, "factor": 1, "mode": "push"}, ValueError, "`mode` must be one of"),
        ({"feature": 0, "factor": 1, "decoder": 3}, TypeError, "must be a function"),
        ({"feature": 0, "factor": 1, "decoder": lambda x: x[0]}, ValueError, "`decoder` must return finite values"),
        ({"feature": 0, "factor": 1, "groupby": "none"}, KeyError, "`groupby='none'`"),
        ({"feature": 0, "factor": 1, "key_added": "X_pca"}, ValueError, "would overwrite what is steered"),
        ({"feature": 0, "factor": 1, "key_added": "sae"}, ValueError, "would overwrite a fitted"),
        ({"feature": 0, "factor": 1, "key": "none"}, KeyError, "`key='none'`"),
    ):
        with pytest.raises(error, match=message):
            sae.tl.steer(planted, **arguments)
    del planted.uns["sae"]["weights"]["b_dec"]
    with pytest.raises(ValueError, match="needs the bias"):
        sae.tl.steer(planted, 0, 1, keep_error=False)
    planted.obsm["X_pca"] = planted.obsm["X_pca"][:, :5]
    with pytest.raises(ValueError, match="5 dimensions, but the model was fitted on 12"):
        sae.tl.steer(planted, 0, 1)
    assert "steer" not in planted.uns
    assert "X_steered" not in planted.obsm
