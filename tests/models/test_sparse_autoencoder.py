from __future__ import annotations

import json
import pickle
import warnings

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import saescape as sae
from saescape.models import SparseAutoencoder

EXPECTED_FAILURES: dict[str, str] = {}


@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
@parametrize_with_checks(
    [SparseAutoencoder(max_epochs=2), SparseAutoencoder(max_epochs=2, architecture="batchtopk")],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def x(small):
    return small.X


@pytest.fixture(params=["topk", "batchtopk"])
def fitted(request, x):
    return SparseAutoencoder(48, architecture=request.param, k=3, max_epochs=40).fit(x)


def test_transform_and_back(fitted, x, global_state):
    codes = fitted.transform(x)
    assert isinstance(codes, sparse.csr_matrix)
    assert codes.dtype == np.float32
    assert codes.shape == (300, 48)
    assert codes.data.min() > 0
    back = fitted.inverse_transform(codes)
    np.testing.assert_allclose(back, fitted.inverse_transform(codes.toarray()), atol=1e-5)
    assert np.square(back - x).sum() < 0.6 * np.square(x - x.mean(0)).sum()
    assert fitted.get_feature_names_out()[-1] == "sae_47"
    assert fitted.n_features_in_ == 20
    assert fitted.W_enc_.shape == (20, 48)
    assert (fitted.threshold_ is None) == (fitted.architecture == "topk")


def test_same_seed_same_result(x, global_state):
    first, again, other = (SparseAutoencoder(32, k=3, max_epochs=5, rng=seed).fit(x) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.W_dec_, again.W_dec_)
    assert not np.array_equal(first.W_dec_, other.W_dec_)
    generator = SparseAutoencoder(32, k=3, max_epochs=5, rng=np.random.default_rng(0)).fit(x)
    np.testing.assert_array_equal(first.W_dec_, generator.W_dec_)


def test_containers_give_the_same_model(x, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = x
        containers = {
            "float64": x.astype(np.float64),
            "csr": sparse.csr_matrix(x),
            "csc": sparse.csc_matrix(x),
            "csr_array": sparse.csr_array(x),
            "dask": da.from_array(x, chunks=(70, -1)),
            "h5py": file["x"],
            "frame": pd.DataFrame(x, columns=[f"g{i}" for i in range(20)]),
        }
        reference = SparseAutoencoder(32, k=3, max_epochs=3).fit(x)
        codes = reference.transform(x)
        for name, container in containers.items():
            model = SparseAutoencoder(32, k=3, max_epochs=3).fit(container)
            np.testing.assert_array_equal(model.W_dec_, reference.W_dec_, err_msg=name)
            assert abs(model.transform(container) - codes).max() == 0


@pytest.mark.parametrize("standardize", ["center", "zscore", "none"])
def test_standardisation_is_folded_into_the_weights(standardize, x):
    scaled = x * np.linspace(0.5, 2, 20, dtype=np.float32)
    model = SparseAutoencoder(48, k=3, max_epochs=60, standardize=standardize).fit(scaled)
    pre = (scaled - model.b_dec_) @ model.W_enc_ + model.b_enc_
    expected = np.where(pre >= np.sort(pre, 1)[:, [-3]], np.maximum(pre, 0), 0)
    np.testing.assert_allclose(model.transform(scaled).toarray(), expected, atol=1e-3)
    assert model.metrics_["fvu_train"] < 0.5
    unit = np.allclose(np.linalg.norm(model.W_dec_, axis=1), 1, atol=1e-5)
    assert unit == (standardize != "zscore")


def test_save_and_load(fitted, x, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    loaded = SparseAutoencoder.load(path)
    assert abs(loaded.transform(x) - fitted.transform(x)).nnz == 0
    assert loaded.metrics_ == pytest.approx(fitted.metrics_)
    pd.testing.assert_frame_equal(loaded.history_, fitted.history_, check_dtype=False)
    assert loaded.n_features_in_ == 20
    tensors = load_file(path)
    names = {"W_enc", "W_dec", "b_enc", "b_dec"} | ({"threshold"} if fitted.architecture == "batchtopk" else set())
    assert set(tensors) == names
    assert tensors["W_enc"].shape == (20, 48)


def test_foreign_and_broken_files(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        SparseAutoencoder.load(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a safetensors file that saescape wrote"):
        SparseAutoencoder.load(path)
    fitted.save(path)
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="no saescape metadata"):
        SparseAutoencoder.load(path)

    def write(arrays, **header):
        params = {"architecture": "topk", "k": 3}
        content = {"format": 1, "params": params, "input_names": [f"d{i}" for i in range(20)]} | header
        save_file(arrays, path, metadata={"saescape": json.dumps(content)})

    write(tensors, format=99)
    with pytest.raises(ValueError, match="format 99.*update saescape"):
        SparseAutoencoder.load(path)
    write(tensors, params={"architecture": "dense", "k": 3})
    with pytest.raises(ValueError, match="architecture 'dense'; available"):
        SparseAutoencoder.load(path)
    write(tensors, params={"architecture": "topk", "k": 300})
    with pytest.raises(ValueError, match="`k` must be between 1 and the number of features"):
        SparseAutoencoder.load(path)
    write({name: tensors[name] for name in ("W_enc", "b_enc", "b_dec")})
    with pytest.raises(ValueError, match=r"no tensors \['W_dec'\]"):
        SparseAutoencoder.load(path)
    write(tensors | {"b_enc": np.zeros(3, dtype=np.float32)})
    with pytest.raises(ValueError, match=r"`b_enc` must have shape \(48,\), found \(3,\)"):
        SparseAutoencoder.load(path)
    write(tensors | {"b_dec": np.full(20, np.nan, dtype=np.float32)})
    with pytest.raises(ValueError, match="`b_dec` has non-finite values"):
        SparseAutoencoder.load(path)


def test_folder_in_the_layout_of_saelens(fitted, x, tmp_path):
    folder = tmp_path / "model"
    fitted.save(folder)
    # again: what is there is replaced, and nothing else is left behind
    fitted.save(folder)
    assert {path.name for path in folder.iterdir()} == {"cfg.json", "sae_weights.safetensors"}
    config = json.loads((folder / "cfg.json").read_text())
    assert config["architecture"] == {"batchtopk": "jumprelu"}.get(fitted.architecture, fitted.architecture)
    assert (config["d_in"], config["d_sae"]) == (20, 48)
    for path in (folder, str(folder), folder / "sae_weights.safetensors"):
        loaded = SparseAutoencoder.load(path)
        assert loaded.architecture == fitted.architecture
        assert loaded.get_params()["k"] == 3
        assert abs(loaded.transform(x) - fitted.transform(x)).nnz == 0
        assert loaded.metrics_ == pytest.approx(fitted.metrics_)
        pd.testing.assert_frame_equal(loaded.history_, fitted.history_, check_dtype=False)


def test_model_that_somebody_else_trained(x, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"W_enc": (20, 48), "W_dec": (48, 20), "b_enc": (48,), "b_dec": (20,)}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    config = {"architecture": "topk", "d_in": 20, "d_sae": 48, "k": 5, "apply_b_dec_to_input": False}
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    model = SparseAutoencoder.load(tmp_path)
    pre = x @ tensors["W_enc"] + tensors["b_enc"]
    expected = np.where(pre >= np.sort(pre, 1)[:, [-5]], np.maximum(pre, 0), 0)
    np.testing.assert_allclose(model.transform(x).toarray(), expected, atol=1e-4)
    assert (model.k, model.standardize, model.metrics_) == (5, "none", {})
    assert not hasattr(model, "history_")
    # it goes on as one of ours
    model.partial_fit(x).save(tmp_path)
    assert SparseAutoencoder.load(tmp_path).metrics_["n_steps"] == model.metrics_["n_steps"]


def test_broken_folders(fitted, tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(FileNotFoundError, match="nor a folder of that name"):
        SparseAutoencoder.load(folder)
    fitted.save(folder)
    weights, config = folder / "sae_weights.safetensors", folder / "cfg.json"
    content, text = weights.read_bytes(), config.read_text()

    def fails(message, error=ValueError):
        with pytest.raises(error, match=message):
            SparseAutoencoder.load(folder)
        weights.write_bytes(content)
        config.write_text(text)

    config.unlink()
    fails("has no file 'cfg.json'", FileNotFoundError)
    weights.unlink()
    fails("has no file 'sae_weights.safetensors'", FileNotFoundError)
    config.write_text("{")
    fails("cfg.json is not JSON")
    config.write_text("[1]")
    fails("cfg.json must hold a JSON object, found list")
    config.write_text(json.dumps(json.loads(text) | {"architecture": "temporal"}))
    fails("Folder .*architecture 'temporal' cannot be read")
    config.write_text(json.dumps(json.loads(text) | {"architecture": "standard"}))
    fails("not understood|do not belong together")
    weights.write_bytes(content[: len(content) // 2])
    fails("sae_weights.safetensors is not a safetensors file that saescape wrote, or not a complete one")
    tensors = load_file(weights)
    header = {"format": 1, "params": {"architecture": fitted.architecture, "k": 3}, "input_names": ["a"]}
    save_file(tensors, weights, metadata={"saescape": json.dumps(header)})
    fails("must name 20 input dimensions, found 1")
    save_file(tensors, weights, metadata={"saescape": json.dumps(header | {"format": 2})})
    fails("format 2.*update saescape")
    tensors["W_dec"] = tensors["W_dec"][:-1]
    save_file(tensors, weights)
    fails(r"`W_dec` must have shape \(48, 20\), found \(47, 20\)")
    # the repairs above are the model as it was
    assert SparseAutoencoder.load(folder).architecture == fitted.architecture


def test_truncated_file(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for size in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="or not a complete one"):
            SparseAutoencoder.load(path)


def test_failed_save_leaves_the_old_file(fitted, x, tmp_path, monkeypatch):
    fitted.save(tmp_path / "model.safetensors")
    fitted.save(tmp_path / "model")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(tensors, path, metadata):
        path.write_bytes(b"half of")
        msg = "disk full"
        raise OSError(msg)

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    for path in ("model.safetensors", "model"):
        with pytest.raises(OSError, match="disk full"):
            fitted.save(tmp_path / path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    (tmp_path / "taken").write_text("text")
    with pytest.raises(FileExistsError, match="is a file; give a folder to create"):
        fitted.save(tmp_path / "taken")


def test_partial_fit_goes_on_learning(x):
    rng = np.random.default_rng(0)
    model = SparseAutoencoder(48, k=3, batch_size=50)
    losses = []
    for _ in range(60):
        model.partial_fit(x[rng.permutation(300)[:150]])
        losses.append(model.metrics_["fvu"])
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert len(model.history_) == 60
    assert model.metrics_["n_steps"] == 180
    assert model.transform(x).shape == (300, 48)


@pytest.mark.parametrize("standardize", ["center", "zscore", "none"])
@pytest.mark.parametrize("stored", [False, True])
def test_partial_fit_continues_from_a_fit(stored, standardize, x, tmp_path):
    model = SparseAutoencoder(48, k=3, max_epochs=60, standardize=standardize).fit(x)
    if stored:
        model.save(tmp_path / "m.safetensors")
        model = SparseAutoencoder.load(tmp_path / "m.safetensors")
    before, fvu = model.W_dec_.copy(), model.metrics_["fvu_train"]
    model.set_params(max_epochs=1, lr=1e-5).partial_fit(x)
    # a tiny rate: the learned model is still there, but it has moved
    assert np.abs(model.W_dec_ - before).max() < 0.05 * np.abs(before).max()
    assert not np.array_equal(model.W_dec_, before)
    assert model.metrics_["fvu"] == pytest.approx(fvu, abs=0.05)


def test_partial_fit_after_pickling_equals_going_on(x):
    first = SparseAutoencoder(32, k=3).partial_fit(x)
    copied = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(first.partial_fit(x).W_dec_, copied.partial_fit(x).W_dec_)


def test_partial_fit_batchtopk_keeps_its_threshold_calibrated(x):
    model = SparseAutoencoder(48, architecture="batchtopk", k=3)
    for _ in range(5):
        model.partial_fit(x)
    assert model.transform(x).nnz / 300 == pytest.approx(3, rel=0.02)


def test_in_a_pipeline(x):
    codes = make_pipeline(MaxAbsScaler(), SparseAutoencoder(32, k=3, max_epochs=3)).fit_transform(x)
    assert codes.shape == (300, 32)
    assert clone(SparseAutoencoder(32, k=3)).get_params()["k"] == 3


def test_bad_input(x, fitted):
    with pytest.raises(NotFittedError):
        SparseAutoencoder().transform(x)
    with pytest.raises(ValueError, match=r"`k` must be between 1 and `n_features` \(8\)"):
        SparseAutoencoder(8, k=9).fit(x)
    with pytest.raises(ValueError, match="minimum of 10 is required"):
        SparseAutoencoder().fit(x[:9])
    bad = x.copy()
    bad[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"has 1 non-finite values, the first at position \(3, 2\)"):
        SparseAutoencoder().fit(da.from_array(bad))
    with pytest.raises(ValueError, match="no variance"):
        SparseAutoencoder().fit(np.ones((50, 4)))
    with pytest.raises(ValueError, match="has 7 columns, but the model was fitted with 20"):
        fitted.transform(da.from_array(x[:, :7]))
    with pytest.raises(ValueError, match="codes of 48 features, found shape"):
        fitted.inverse_transform(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        SparseAutoencoder().fit(da.zeros((20, 3, 2)))


def test_settings_of_a_fixed_penalty_survive(x, tmp_path):
    settings = {"n_features": 32, "architecture": "gated", "l1_coef": 0.4, "early_stopping": False, "max_epochs": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SparseAutoencoder(**settings).fit(x)
    path = tmp_path / "model.safetensors"
    for _ in range(2):
        model.save(path)
        model = SparseAutoencoder.load(path)
        assert {name: getattr(model, name) for name in settings} == settings


def test_more_training_drops_a_rule_made_for_the_old_dictionary(x):
    adata = ad.AnnData(obsm={"tokens": x[:300].reshape(60, 5, -1)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sae.tl.sae_fit(adata, 32, k=3, use_rep="tokens", inference="omp", max_epochs=30, show_progress_bar=False)
        model = sae.get.sae(adata)
        before = model.transform(x)
        model.partial_fit(10 * x)
    assert model.metrics_["l0"] == pytest.approx(model.transform(10 * x).nnz / len(x))
    assert before.nnz != model.transform(x).nnz
