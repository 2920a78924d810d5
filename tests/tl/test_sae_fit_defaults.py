"""What `sae_fit` does when it is left alone: number of active features, inference, and what is stored about both."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import saescape as sae
from saescape.sae import _defaults

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::saescape._warnings.{name}")
    for name in ("ConvergenceWarning", "SignificanceWarning")
]

QUIET = {"show_progress_bar": False}
QUICK = QUIET | {"max_epochs": 20}
D, P = 16, 24


@pytest.fixture(scope="module")
def cells():
    return sae.datasets.superposition(120, n_positions=P, n_dims=D, n_concepts=24, density=0.06)


@pytest.fixture(scope="module")
def fits(cells):
    """Default fits of the tokens, by `standardize`."""
    results = {}
    for standardize in ("center", "zscore"):
        adata = cells.copy()
        # dimensions in different units
        adata.obsm["tokens"] = adata.obsm["tokens"] * np.linspace(0.3, 3, D, dtype=np.float32)
        sae.tl.sae_fit(adata, 48, use_rep="tokens", standardize=standardize, **QUICK)
        results[standardize] = adata
    return results


def fit(cells, use_rep="tokens", **settings):
    return sae.tl.sae_fit(cells, 48, use_rep=use_rep, copy=True, **(QUICK | settings)).uns["sae"]


def test_pilot_is_reported(fits):
    entry = fits["center"].uns["sae"]
    pilot, params = entry["pilot"], entry["params"]
    assert list(pilot.columns) == ["k", "bits"]
    assert pilot["k"].iloc[0] == 1
    assert np.isfinite(pilot["bits"]).all()
    lowest = int(pilot["bits"].argmin())
    interior = 0 < lowest < len(pilot) - 1
    assert params["k_from"] == ("pilot" if interior else "rule")
    assert 1 <= params["k"] <= D // 3


@pytest.mark.parametrize("given", [{"k": 3}, {"l0_target": 3}, {"l1_coef": 0.1, "architecture": "relu"}])
def test_no_pilot_when_sparsity_is_given(given, cells):
    entry = fit(cells, **(given | {"max_epochs": 2}))
    assert "pilot" not in entry
    assert entry["params"]["k_from"] == "given"
    if "l1_coef" not in given:
        assert entry["params"]["k"] == 3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "omp"),
        ({"use_rep": None}, "encoder"),
        ({"k": 2}, "encoder"),
        ({"l0_target": 2}, "encoder"),
        ({"l1_coef": 0.1, "architecture": "gated"}, "encoder"),
        ({"inference": "encoder"}, "encoder"),
        ({"inference": "fista", "k": 2}, "fista"),
        ({"inference": "omp", "k": 2}, "omp"),
        ({"inference": "omp", "use_rep": None}, "omp"),
    ],
)
def test_inference_that_is_chosen(settings, expected, cells):
    entry = fit(cells, **({"max_epochs": 3} | settings))
    params, metrics = entry["params"], entry["metrics"]
    assert params["inference"] == expected
    assert (params["penalty"] is None) == (expected == "encoder")
    assert ("fvu_encoder" in metrics) == ("l0_encoder" in metrics) == (expected != "encoder")


@pytest.mark.parametrize("inference", ["fista", "omp"])
def test_inference_keeps_to_a_number_that_was_asked_for(inference, cells):
    sparse_codes, by_encoder = (fit(cells, k=3, inference=name) for name in (inference, "encoder"))
    assert sparse_codes["metrics"]["l0"] == pytest.approx(3, rel=0.05)
    assert sparse_codes["params"]["used"] is None
    # the same weights, so the encoder does what it would have done
    np.testing.assert_array_equal(sparse_codes["weights"]["W_dec"], by_encoder["weights"]["W_dec"])
    for name in ("fvu", "l0"):
        assert sparse_codes["metrics"][f"{name}_encoder"] == pytest.approx(by_encoder["metrics"][name], rel=1e-6)
    assert sparse_codes["metrics"]["fvu"] < by_encoder["metrics"]["fvu"]


def test_codes_of_default_inference_are_sparser_than_the_space_and_better_than_the_encoders(fits):
    metrics = fits["center"].uns["sae"]["metrics"]
    assert metrics["l0"] < D / 2
    assert metrics["fvu"] < 0.7 * metrics["fvu_encoder"]


@pytest.mark.parametrize("wrong", ["lasso", "OMP", 3, True])
def test_wrong_inference_leaves_the_anndata_unchanged(wrong, cells):
    before = {name: sorted(getattr(cells, name)) for name in ("obsm", "varm", "uns")}
    with pytest.raises(ValueError, match="`inference` must be one of"):
        sae.tl.sae_fit(cells, use_rep="tokens", inference=wrong, **QUIET)
    assert {name: sorted(getattr(cells, name)) for name in ("obsm", "varm", "uns")} == before


@pytest.mark.parametrize("used", [None, np.arange(48) % 4 != 1])
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_params_survive_files(suffix, used, fits, tmp_path):
    adata, path = fits["center"].copy(), tmp_path / f"a.{suffix}"
    adata.uns["sae"]["params"]["used"] = used
    (adata.write_h5ad if suffix == "h5ad" else adata.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    written, read = adata.uns["sae"]["params"], back.uns["sae"]["params"]
    assert set(written) == set(read)
    for name, value in written.items():
        if isinstance(value, np.ndarray):
            assert read[name].dtype == value.dtype
            np.testing.assert_array_equal(read[name], value)
        else:
            assert read[name] == value, name
    assert read["layer"] is None
    assert back.uns["sae"]["pilot"].equals(adata.uns["sae"]["pilot"])
    codes = [sae.tl.sae_transform(a, a, copy=True, **QUIET).obsm["X_sae"] for a in (adata, back)]
    assert abs(codes[0] - codes[1]).nnz == 0
    if used is not None:
        assert used[codes[1].indices].all()


def equal_codes(a, b):
    """The same features, and values that are equal but for rounding."""
    assert a.shape == b.shape
    np.testing.assert_array_equal(a.indptr, b.indptr)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.data, b.data, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("standardize", ["center", "zscore"])
@pytest.mark.parametrize("chosen", [slice(None), slice(17, 18), slice(40, 90), [5, 119, 3, 60]])
def test_cells_are_coded_as_in_the_fit_in_any_company(chosen, standardize, fits):
    adata = fits[standardize]
    assert adata.uns["sae"]["params"]["inference"] == "omp"
    new = ad.AnnData(obs=adata.obs.iloc[chosen])
    new.obsm["tokens"] = adata.obsm["tokens"][chosen]
    sae.tl.sae_transform(new, adata, use_rep="tokens", **QUIET)
    equal_codes(new.obsm["X_sae"], adata.obsm["X_sae"][chosen])
    assert new.uns["sae"]["params"]["inference"] == "omp"


@pytest.mark.parametrize("standardize", ["center", "zscore"])
def test_estimator_and_its_file_code_each_token_as_the_fit_did(standardize, fits, tmp_path):
    adata = fits[standardize]
    model = sae.get.sae(adata)
    model.save(tmp_path / "model.safetensors")
    loaded = sae.models.SparseAutoencoder.load(tmp_path / "model.safetensors")
    tokens = adata.obsm["tokens"].reshape(-1, D)
    pooling = sparse.kron(sparse.eye_array(len(adata)), np.full((1, P), 1 / P), format="csr")
    for estimator in (model, loaded):
        codes = estimator.transform(tokens)
        pooled = sparse.csr_matrix(pooling @ codes)
        pooled.sort_indices()
        equal_codes(pooled, adata.obsm["X_sae"])
        assert codes.nnz / len(tokens) == pytest.approx(adata.uns["sae"]["metrics"]["l0"], rel=1e-6)
        # what is reported is the error of these codes, in units of the scale
        scale = tokens.std(0) if standardize == "zscore" else 1.0
        error = np.square((tokens - estimator.inverse_transform(codes)) / scale).sum()
        fvu = error / np.square((tokens - tokens.mean(0)) / scale).sum()
        assert fvu == pytest.approx(adata.uns["sae"]["metrics"]["fvu_train"], rel=0.1)


def test_scale_of_the_fit_decides_about_new_data(fits, tmp_path):
    # rows are not standardised by their own scale
    adata = fits["zscore"]
    model = sae.get.sae(adata)
    scale = adata.uns["sae"]["weights"]["scale"]
    np.testing.assert_allclose(scale / adata.obsm["tokens"].reshape(-1, D).std(0), 1, rtol=1e-3)
    codes = model.transform(adata.obsm["tokens"][:10].reshape(-1, D))
    adata = adata.copy()
    del adata.uns["sae"]["weights"]["scale"]
    other = sae.get.sae(adata).transform(adata.obsm["tokens"][:10].reshape(-1, D))
    assert abs(codes - other).nnz > 0


@pytest.fixture
def short(monkeypatch):
    """Training that may end after 200 steps instead of 1,000."""
    monkeypatch.setattr(_defaults, "_MIN_STEPS", 200)
    monkeypatch.setattr(_defaults, "_MIN_SAMPLES", 10_000)


def easy(n=500, d=8):
    """Each row is one of eight orthogonal directions."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, d))
    x[np.arange(n), rng.integers(d, size=n)] = 0.5 + rng.exponential(size=n)
    return ad.AnnData((x + 0.1 * rng.normal(size=x.shape)).astype(np.float32))


def test_training_ends_when_nothing_is_gained(short):
    adata = easy()
    sae.tl.sae_fit(adata, 16, k=1, max_epochs=1_000, **QUIET)
    entry = adata.uns["sae"]
    planned, taken, history = entry["params"]["n_steps"], entry["metrics"]["n_steps"], entry["history"]
    assert 200 <= taken < 0.7 * planned
    assert history["step"].iloc[-1] == taken
    # the rate goes down to nothing all the same
    lr = history["lr"].to_numpy()
    assert lr.max() == pytest.approx(entry["params"]["lr"])
    assert lr[-1] < 0.02 * lr.max()
    last_fifth = lr[history["step"] > 0.81 * taken]
    assert len(last_fifth) > 3
    assert (np.diff(last_fifth) < 0).all()
    assert np.isfinite(history["fvu_held_out"].iloc[-1])

    sae.tl.sae_fit(adata, 16, k=1, max_epochs=1_000, early_stopping=False, **QUIET)
    full = adata.uns["sae"]
    assert full["metrics"]["n_steps"] == planned == full["params"]["n_steps"]
    assert entry["metrics"]["fvu"] < 1.2 * full["metrics"]["fvu"]


def test_training_does_not_end_before_its_minimum():
    adata = easy()
    sae.tl.sae_fit(adata, 16, k=1, max_epochs=400, **QUIET)
    entry = adata.uns["sae"]
    assert entry["metrics"]["n_steps"] == entry["params"]["n_steps"] < 1_000
