from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from anndata import ImplicitModificationWarning

import saescape as sae

QUICK = {"k": 2, "max_epochs": 20, "show_progress_bar": False}


@pytest.fixture
def trained(small):
    sae.tl.sae_fit(small, 32, **QUICK)
    return small


@pytest.fixture
def new(trained):
    other = trained[200:].copy()
    for slot, name in ((other.obsm, "X_sae"), (other.uns, "sae"), (other.varm, "sae_decoder")):
        del slot[name]
    return other


@pytest.mark.parametrize("kind", ["anndata", "estimator", "file"])
def test_models_of_every_kind(kind, trained, new, tmp_path, global_state):
    model = trained
    if kind != "anndata":
        model = sae.get.sae(trained)
    if kind == "file":
        model.save(tmp_path / "m.safetensors")
        model = tmp_path / "m.safetensors"
    assert sae.tl.sae_transform(new, model) is None
    np.testing.assert_allclose(new.obsm["X_sae"].toarray(), trained.obsm["X_sae"][200:].toarray(), atol=1e-5)
    np.testing.assert_array_equal(new.varm["sae_decoder"], trained.varm["sae_decoder"])
    x_hat = sae.get.sae(new).inverse_transform(new.obsm["X_sae"])
    assert new.uns["sae"]["metrics"]["fvu"] == pytest.approx(sae.metrics.fvu(new.X, x_hat), rel=1e-4)
    assert new.uns["sae"]["metrics"]["n_obs"] == 100
    assert new.uns["sae"]["weights"]["W_enc"] is not trained.uns["sae"]["weights"]["W_enc"]
    assert sae.get.features(new).shape == (100, 32)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip(suffix, trained, new, tmp_path):
    sae.tl.sae_transform(new, sae.get.sae(trained), key_added="applied")
    path = tmp_path / f"a.{suffix}"
    (new.write_h5ad if suffix == "h5ad" else new.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert abs(sae.get.sae(back, key="applied").transform(back.X) - new.obsm["applied"]).nnz == 0


def test_representation_of_the_fit_is_the_default(small):
    sae.tl.sae_fit(small, 32, use_rep="tokens", key_added="K", **QUICK)
    other = small[:50].copy()
    del other.obsm["K"]
    sae.tl.sae_transform(other, small, key="K")
    np.testing.assert_allclose(other.obsm["K"].toarray(), small.obsm["K"][:50].toarray(), atol=1e-5)
    assert other.uns["K"]["params"]["use_rep"] == "tokens"


def test_variables_in_another_order_and_more_of_them(trained, new):
    expected = trained.obsm["X_sae"][200:].toarray()
    more = ad.concat([new[:, ::-1], ad.AnnData(np.ones((100, 2)), obs=new.obs, var={"x": [1, 2]})], axis=1)
    sae.tl.sae_transform(more, trained)
    np.testing.assert_allclose(more.obsm["X_sae"].toarray(), expected, atol=1e-5)
    decoder = trained.uns["sae"]["weights"]["W_dec"].T
    np.testing.assert_array_equal(more.varm["sae_decoder"][:20], decoder[::-1])
    np.testing.assert_array_equal(more.varm["sae_decoder"][20:], 0)


def test_mask_var_of_the_fit_selects_by_name(small):
    small.var["use"] = np.arange(20) < 7
    sae.tl.sae_fit(small, 32, mask_var="use", **QUICK)
    other = small[:40].copy()
    sae.tl.sae_transform(other, small)
    np.testing.assert_allclose(other.obsm["X_sae"].toarray(), small.obsm["X_sae"][:40].toarray(), atol=1e-5)


def test_copy_view_and_backed(trained, new, tmp_path):
    result = sae.tl.sae_transform(new, trained, copy=True)
    assert "X_sae" in result.obsm
    assert "X_sae" not in new.obsm
    new.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    sae.tl.sae_transform(backed, trained)
    assert abs(backed.obsm["X_sae"] - result.obsm["X_sae"]).nnz == 0
    with pytest.raises(ValueError, match="not possible in backed mode"):
        sae.tl.sae_transform(backed, trained, copy=True)
    view = new[:10]
    with pytest.warns(ImplicitModificationWarning):
        sae.tl.sae_transform(view, trained)
    assert "X_sae" not in new.obsm


def test_bad_input(trained, new, tmp_path):
    with pytest.raises(TypeError, match="`model` must be an AnnData with a fitted.*found int"):
        sae.tl.sae_transform(new, 3)
    with pytest.raises(KeyError, match=r"Key 'sae' not found in `model.uns`.*Run `sae.tl.sae_fit"):
        sae.tl.sae_transform(trained, new)
    with pytest.raises(KeyError, match="`key='K'`"):
        sae.tl.sae_transform(new, trained, key="K")
    with pytest.raises(FileNotFoundError):
        sae.tl.sae_transform(new, str(tmp_path / "none.safetensors"))
    with pytest.raises(ValueError, match="is not fitted"):
        sae.tl.sae_transform(new, sae.models.SparseAutoencoder())
    with pytest.raises(ValueError, match=r"`adata` lacks 3 of the 20 variables.*'gene0'"):
        sae.tl.sae_transform(new[:, 3:].copy(), trained)
    with pytest.raises(ValueError, match=r"fitted on 20 dimensions \(gene0, ...\), but `adata.obsm\['X_rep'\]` has 12"):
        sae.tl.sae_transform(new, trained, use_rep="X_rep")
    with pytest.raises(KeyError, match="`use_rep='nope'`"):
        sae.tl.sae_transform(new, trained, use_rep="nope")
    new.uns["image_to_adata"] = {}
    new.var_names = [f"other{i}" for i in range(20)]
    with pytest.raises(ValueError, match="number 0 is 'gene0' in `model`, but 'other0'"):
        sae.tl.sae_transform(new, trained, use_rep="tokens")
    new.X[2, 2] = np.nan
    new.var_names = trained.var_names
    with pytest.raises(ValueError, match=r"1 non-finite values, the first at position \(2, 2\)"):
        sae.tl.sae_transform(new, trained)
    new.obsm["X_same"] = np.ones((100, 20))
    with pytest.raises(ValueError, match="would overwrite"):
        sae.tl.sae_transform(new, trained, use_rep="X_same", key_added="X_same")
    assert "X_sae" not in new.obsm
    assert "sae" not in new.uns
