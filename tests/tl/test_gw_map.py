from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import ConvergenceWarning, SignificanceWarning

FAST = {"n_nulls": 0, "n_starts": 3, "show_progress_bar": False, "device": "cpu", "use_rep": "X_image"}


def assert_equal(first, second):
    """Assert that two AnnData hold the same values in the same slots."""
    assert_same(first.X, second.X)
    pd.testing.assert_frame_equal(first.obs, second.obs, check_categorical=False)
    pd.testing.assert_frame_equal(first.var, second.var, check_categorical=False)
    for name in ("obsm", "varm", "layers", "uns"):
        assert_same(dict(getattr(first, name)), dict(getattr(second, name)))


def assert_same(first, second):
    assert type(first) is type(second) or np.isscalar(first)
    if isinstance(first, dict):
        assert set(first) == set(second)
        for key in first:
            assert_same(first[key], second[key])
    elif sparse.issparse(first):
        np.testing.assert_array_equal(first.toarray(), second.toarray())
    elif isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_categorical=False)
    else:
        np.testing.assert_array_equal(first, second)


def gw_map(adata, adata_ref, **kwargs):
    """The call under test, its warnings about significance aside (they have their own tests)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sae.tl.gw_map(adata, adata_ref, **{**FAST, **kwargs})


@pytest.fixture(scope="module")
def _pair():
    return sae.datasets.paired(110, 90, n_genes=300)


@pytest.fixture
def pair(_pair):
    return _pair[0].copy(), _pair[1].copy()


@pytest.fixture(scope="module")
def mapped(_pair):
    adata, adata_ref = _pair[0].copy(), _pair[1].copy()
    gw_map(adata, adata_ref, obs="cell_type")
    return adata, adata_ref


def test_slots(mapped):
    adata, adata_ref = mapped
    coupling = adata.obsm["gw_coupling"]
    assert isinstance(coupling, sparse.csr_matrix)
    assert coupling.shape == (110, 90)
    assert coupling.dtype == np.float32
    np.testing.assert_allclose(coupling.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(coupling.sum(1)).ravel(), 1 / 110, rtol=1e-4)
    assert np.abs(np.asarray(coupling.sum(0)).ravel() - 1 / 90).sum() < 0.01
    # projection and labels come from the plan before the smallest entries were left out
    np.testing.assert_allclose(adata.obsm["X_gw"], coupling @ adata_ref.obsm["X_pca"] * 110, atol=0.15)
    assert adata.obsm["X_gw"].dtype == np.float32
    mass = sae.get.coupling_df(adata, adata_ref, "cell_type", "cell_type", normalize=False)
    assert mass.shape == (5, 5)
    one_hot = pd.get_dummies(adata_ref.obs["cell_type"]).to_numpy(float)
    share = (coupling @ one_hot) * 110
    np.testing.assert_allclose(adata.obs["gw_cell_type_prob"], share.max(1), atol=5e-3)
    clear = np.sort(share, 1)[:, -1] - np.sort(share, 1)[:, -2] > 0.02
    expected = np.array(adata_ref.obs["cell_type"].cat.categories)[share.argmax(1)]
    assert (adata.obs["gw_cell_type"].astype(str) == expected)[clear].all()
    assert isinstance(adata.obs["gw_cell_type"].dtype, pd.CategoricalDtype)
    assert adata.obs["gw_confidence"].between(0, 1).all()
    assert adata.obs["gw_distortion"].dtype == np.float32
    # the cells' shares of the loss
    assert adata.obs["gw_distortion"].mean() == pytest.approx(adata.uns["gw_map"]["gw_loss"], abs=0.01)

    stored = adata.uns["gw_map"]
    assert list(stored["starts"]) == ["start", "loss", "agreement"]
    assert len(stored["starts"]) == 3
    np.testing.assert_array_equal(stored["ref_names"], adata_ref.obs_names)
    assert 0 < stored["gw_loss"] < 2
    assert stored["optima"]["agreement"].max() == pytest.approx(1, abs=1e-5)
    assert isinstance(stored["ambiguous"], bool)
    assert isinstance(stored["converged"], bool)
    assert stored["dropped_mass"] < 2e-3
    assert stored["marginal_error"] < 0.01
    assert np.isnan(stored["pvalue"])
    assert stored["null_loss"].shape == (0,)
    accuracy = stored["label_accuracy"].loc["cell_type"]
    truth = adata.obs["cell_type"].astype(str)
    assert accuracy["accuracy"] == pytest.approx((truth == adata.obs["gw_cell_type"].astype(str)).mean())
    assert accuracy["chance"] == pytest.approx(0.2)
    assert stored["params"]["epsilon"] == 0.1
    assert stored["params"]["use_rep_ref"] == "X_pca"
    assert stored["params"]["version"]


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(mapped, tmp_path, kind):
    adata = mapped[0].copy()
    adata.uns["gw_map"]["params"]["metric"] = np.array(["cosine", "geodesic"])
    path = tmp_path / f"a.{kind}"
    if kind == "h5ad":
        adata.write_h5ad(path)
        back = ad.read_h5ad(path)
    else:
        adata.write_zarr(path)
        back = ad.read_zarr(path)
    assert_equal(back, adata)
    assert isinstance(back.obsm["gw_coupling"], sparse.csr_matrix)


def test_related_cells_are_found_and_not_ambiguous():
    adata, adata_ref = sae.datasets.paired(200, 200, n_dims=24, rng=1)
    # two nulls cannot be beaten significantly; the labels speak for the coupling
    with pytest.warns(SignificanceWarning, match=r"`adata.obs\['cell_type'\]` agree with it more than by chance"):
        sae.tl.gw_map(adata, adata_ref, obs="cell_type", **{**FAST, "n_nulls": 2, "n_starts": 4})
    stored = adata.uns["gw_map"]
    assert not stored["ambiguous"]
    kinds = ("smooth", "gaussian", "pieces")
    assert list(stored["nulls"]) == [f"{side}_{kind}" for kind in kinds for side in ("reference", "query")]
    pvalues = (1 + (stored["nulls"] <= stored["null_observed"]).sum()) / 3
    assert stored["pvalue"] == pytest.approx(pvalues.max())
    assert any(np.array_equal(stored["null_loss"], column) for _, column in stored["nulls"].items())
    order = adata_ref.obs_names.get_indexer(adata.obs["partner"])
    assert sae.metrics.foscttm(adata.obsm["X_gw"], adata_ref.obsm["X_pca"][order]) < 0.15
    accuracy = stored["label_accuracy"].loc["cell_type"]
    assert accuracy["balanced_accuracy"] > 0.6
    # of the 120 assignments of five names, few are as good as the true one
    assert accuracy["pvalue"] < 0.05


def test_unrelated_data_warn():
    adata, adata_ref = sae.datasets.paired(120, 120, rho=0.0, rng=2)
    with pytest.warns(SignificanceWarning, match="unrelated data align as well|disagrees"):
        sae.tl.gw_map(adata, adata_ref, obs="cell_type", **{**FAST, "n_nulls": 4})
    stored = adata.uns["gw_map"]
    assert stored["pvalue"] > 1 / 5
    assert stored["label_accuracy"].loc["cell_type", "pvalue"] > 0.05


def test_mirrored_data_are_ambiguous():
    adata, adata_ref = sae.datasets.paired(120, 120, n_types=4, mirror=True)
    with pytest.warns(SignificanceWarning, match="another optimum with about the same loss disagrees"):
        sae.tl.gw_map(adata, adata_ref, **{**FAST, "n_starts": 8})
    assert adata.uns["gw_map"]["ambiguous"]


def test_untested_significance_warns(pair):
    with pytest.warns(SignificanceWarning, match=r"not tested \(`n_nulls=0`\)"):
        sae.tl.gw_map(*pair, **FAST)


def test_few_iterations_warn(pair, monkeypatch):
    from saescape.transport import _plan

    monkeypatch.setattr(_plan, "_SETTLED_COLUMNS", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        with pytest.warns(ConvergenceWarning, match=r"marginal error .* raise `epsilon` \(0.1\)"):
            sae.tl.gw_map(*pair, **FAST)
    assert not pair[0].uns["gw_map"]["converged"]


def test_key_copy_and_reference(pair):
    adata, adata_ref = pair
    before, before_ref = adata.copy(), adata_ref.copy()
    result = gw_map(adata, adata_ref, obs="cell_type", key_added="map", copy=True)
    assert_equal(adata, before)
    assert_equal(adata_ref, before_ref)
    assert set(result.obsm) - set(before.obsm) == {"map_coupling", "X_map"}
    assert set(result.uns) - set(before.uns) == {"map"}
    added = {"map_cell_type", "map_cell_type_prob", "map_confidence", "map_distortion"}
    assert set(result.obs) - set(before.obs) == added
    assert gw_map(adata, adata_ref) is None


def test_same_seed_same_result_and_global_state(pair, global_state):
    first, second = (gw_map(*pair, copy=True, rng=4, n_nulls=2) for _ in range(2))
    assert_equal(first, second)
    other = gw_map(*pair, copy=True, rng=np.random.default_rng(4), n_nulls=0)
    # a generator seeded alike gives the same coupling, whatever the number of nulls
    assert (other.obsm["gw_coupling"] != first.obsm["gw_coupling"]).nnz == 0
    assert other.uns["gw_map"]["params"]["rng"] == "generator"


@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.csc_matrix, np.asfortranarray, pd.DataFrame])
def test_types_of_representation(pair, convert):
    adata, adata_ref = pair
    expected = gw_map(adata, adata_ref, copy=True)
    values = adata.obsm["X_image"]
    adata.obsm["other"] = convert(values) if convert is not pd.DataFrame else pd.DataFrame(values, adata.obs_names)
    if convert is pd.DataFrame:
        adata.obsm["other"].columns = adata.obsm["other"].columns.astype(str)
    result = gw_map(adata, adata_ref, use_rep="other", copy=True)
    assert (result.obsm["gw_coupling"] != expected.obsm["gw_coupling"]).nnz == 0


def test_x_and_view(pair):
    adata, adata_ref = pair
    expected = gw_map(adata, adata_ref, copy=True)
    result = gw_map(adata, adata_ref, use_rep=None, copy=True)
    assert (result.obsm["gw_coupling"] != expected.obsm["gw_coupling"]).nnz == 0
    view = adata[:60]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ad.ImplicitModificationWarning)
        gw_map(view, adata_ref)
    assert view.obsm["gw_coupling"].shape == (60, 90)
    assert "gw_coupling" not in adata.obsm


def test_an_object_maps_on_itself(pair):
    _, adata_ref = pair
    gw_map(adata_ref, adata_ref, obs="cell_type", use_rep="X_pca", epsilon=0.05)
    assert adata_ref.uns["gw_map"]["label_accuracy"].loc["cell_type", "accuracy"] > 0.8


def test_labels_of_all_kinds(pair):
    adata, adata_ref = pair
    adata_ref.obs["number"] = pd.Categorical(adata_ref.obs["cell_type"].cat.codes, categories=[3, 1, 0, 2, 4, 9])
    adata_ref.obs["some"] = adata_ref.obs["cell_type"].where(np.arange(90) % 3 > 0)
    gw_map(adata, adata_ref, obs=["number", "some"])
    # the order of the reference, without what no cell has
    assert list(adata.obs["gw_number"].cat.categories) == ["3", "1", "0", "2", "4"]
    # unlabelled cells take their share of the probability
    assert (adata.obs["gw_some_prob"] < 1).all()
    assert not adata.obs["gw_some"].isna().any()
    # `adata.obs` has neither column
    assert "label_accuracy" not in adata.uns["gw_map"]


def test_methods_agree(pair):
    adata, adata_ref = pair
    ours, pots = (
        gw_map(adata, adata_ref, method=method, metric="euclidean", epsilon=0.2, copy=True)
        for method in ("auto", "pot")
    )
    assert pots.uns["gw_map"]["params"]["method"] == "pot"
    assert ours.uns["gw_map"]["gw_loss"] == pytest.approx(pots.uns["gw_map"]["gw_loss"], abs=0.05)
    assert np.corrcoef(ours.obsm["X_gw"].ravel(), pots.obsm["X_gw"].ravel())[0, 1] > 0.97
    np.testing.assert_allclose(np.asarray(pots.obsm["gw_coupling"].sum(1)).ravel(), 1 / 110, rtol=1e-4)
    assert np.corrcoef(ours.obs["gw_distortion"], pots.obs["gw_distortion"])[0, 1] > 0.9
    assert pots.obs["gw_distortion"].mean() == pytest.approx(pots.uns["gw_map"]["gw_loss"], abs=1e-3)


def test_several_metrics(pair):
    adata, adata_ref = pair
    gw_map(adata, adata_ref, metric=["cosine", "geodesic"])
    assert list(adata.uns["gw_map"]["params"]["metric"]) == ["cosine", "geodesic"]


def test_few_cells(pair):
    adata, adata_ref = pair
    small, small_ref = adata[:4].copy(), adata_ref[:6].copy()
    gw_map(small, small_ref, n_nulls=2, obs="cell_type")
    assert small.obsm["gw_coupling"].shape == (4, 6)
    with pytest.raises(ValueError, match="`adata` must have at least 4 observations, found 3"):
        gw_map(adata[:3].copy(), adata_ref)
    with pytest.raises(ValueError, match="`adata_ref` must have at least 4"):
        gw_map(adata, adata_ref[:2].copy())


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"obs": "nothing"}, KeyError, r"`obs='nothing'`.*adata_ref.obs.*cell_type"),
        ({"obs": ["cell_type", "cell_type"]}, ValueError, "names a column twice"),
        ({"obs": "gradient"}, ValueError, "numbers or booleans; labels must be categories or text.*tl.gw_transfer"),
        ({"obs": "integer"}, ValueError, r"adata_ref.obs\['integer'\].astype\('category'\)"),
        ({"obs": "empty"}, ValueError, "missing values only"),
        ({"use_rep": "nothing"}, KeyError, r"`use_rep='nothing'`.*adata.obsm.*X_image"),
        ({"use_rep": "X_sae"}, KeyError, "sae.tl.sae_fit"),
        ({"use_rep_ref": "nothing"}, KeyError, r"`use_rep_ref='nothing'`.*adata_ref.obsm"),
        ({"use_rep": "tokens"}, ValueError, "must have 2 dimensions.*pool"),
        (
            {"use_rep": "nan"},
            ValueError,
            r"`adata.obsm\['nan'\]` has 1 non-finite values, the first at position \(3, 2\)",
        ),
        ({"use_rep": "constant"}, ValueError, r"`adata.obsm\['constant'\]` is constant"),
        ({"use_rep_ref": "constant"}, ValueError, r"`adata_ref.obsm\['constant'\]` is constant"),
        ({"use_rep": "ray"}, ValueError, "all distances are zero"),
        ({"metric": "hop"}, ValueError, "`metric` must be one of"),
        ({"metric": []}, ValueError, "`metric` must name at least one"),
        ({"metric": ["cosine", "cosine"]}, ValueError, "none twice"),
        ({"method": "scot"}, ValueError, r"`method` must be one of \['auto', 'pot'\]"),
        ({"method": "pot", "metric": ["cosine", "geodesic"]}, ValueError, "takes one `metric`"),
        ({"method": "pot", "metric": "cosine", "n_landmarks": 20}, ValueError, "`n_landmarks` is for `method='auto'`"),
        ({"epsilon": 0}, ValueError, "`epsilon` must be greater than 0"),
        ({"epsilon": "small"}, TypeError, "`epsilon` must be a number"),
        ({"n_landmarks": 3}, ValueError, "`n_landmarks` must be between 4 and 110, found 3"),
        ({"n_landmarks": 111}, ValueError, "`n_landmarks` must be between 4 and 110, found 111"),
        ({"n_starts": 0}, ValueError, "`n_starts` must be at least 1"),
        ({"n_nulls": -1}, ValueError, "`n_nulls` must be at least 0"),
        ({"n_neighbors": 90}, ValueError, "`n_neighbors` must be between 1 and 89"),
        ({"device": "abacus"}, ValueError, "`device` must name a torch device"),
    ],
)
def test_bad_input_changes_nothing(pair, kwargs, error, match):
    adata, adata_ref = pair
    adata_ref.obs["empty"], adata_ref.obs["integer"] = pd.Categorical([None] * 90), np.arange(90) % 4
    adata.obsm["tokens"] = np.ones((110, 3, 2))
    adata.obsm["nan"] = adata.obsm["X_image"].copy()
    adata.obsm["nan"][3, 2] = np.nan
    adata.obsm["constant"], adata_ref.obsm["constant"] = np.ones((110, 2)), np.ones((90, 2))
    adata.obsm["ray"] = np.outer(np.arange(1.0, 111), [1.0, 2.0])
    before, before_ref = adata.copy(), adata_ref.copy()
    with pytest.raises(error, match=match):
        gw_map(adata, adata_ref, **kwargs)
    assert_equal(adata, before)
    assert_equal(adata_ref, before_ref)


def test_bad_objects(pair, tmp_path):
    adata, adata_ref = pair
    with pytest.raises(TypeError, match="`adata_ref` must be an AnnData, found ndarray"):
        gw_map(adata, adata_ref.obsm["X_pca"])
    repeated = adata_ref.copy()
    repeated.obs_names = ["a"] * 90
    with pytest.raises(ValueError, match="obs_names_make_unique"):
        gw_map(adata, repeated)
    large = ad.AnnData(np.random.default_rng(0).normal(size=(3001, 2)).astype(np.float32))
    with pytest.raises(ValueError, match=r"at most 3,000 cells.*found 3,001 and 90 \(about 0.2 GiB\)"):
        gw_map(large, adata_ref, use_rep=None, method="pot", metric="cosine")
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    gw_map(backed, adata_ref)
    assert backed.obsm["gw_coupling"].shape == (110, 90)
    with pytest.raises(ValueError, match="`copy=True` is not possible in backed mode"):
        gw_map(backed, adata_ref, copy=True)
    backed.file.close()


def test_real_cells_split_in_two(pbmc):
    # two halves of the same genes of different cells: types must find each other
    rng = np.random.default_rng(0)
    order = rng.permutation(pbmc.n_obs)
    first, second = pbmc[order[:300]].copy(), pbmc[order[300:600]].copy()
    gw_map(first, second, obs="bulk_labels", use_rep="X_pca", n_starts=8)
    accuracy = first.uns["gw_map"]["label_accuracy"].loc["bulk_labels"]
    assert accuracy["accuracy"] > 0.6
    assert accuracy["balanced_accuracy"] > 2 * accuracy["chance"]
