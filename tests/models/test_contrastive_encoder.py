from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import saescape as sae
from saescape.models import ContrastiveEncoder


@pytest.fixture(scope="module")
def stripes():
    """Crops with stripes along one direction or dots, at random places: classes that no pixel tells apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 96)
    crops = 0.2 * rng.random((192, 2, 16, 16))
    grid = np.arange(16)
    for crop, label in zip(crops, labels, strict=True):
        phase = rng.integers(6)
        lines = ((grid + phase) % 6 < 2).astype(float)
        crop[label] += np.outer(lines, np.ones(16)) if rng.random() < 0.5 else np.outer(np.ones(16), lines)
        crop[1 - label] += np.outer(lines, lines)
    order = rng.permutation(192)
    return crops[order].astype(np.float32), labels[order]


def settings(**changed):
    return {"n_dims": 16, "max_epochs": 2, "batch_size": 48, "device": "cpu"} | changed


@pytest.fixture(scope="module")
def fitted(stripes):
    return ContrastiveEncoder(**settings()).fit(stripes[0])


def test_shapes_and_history(stripes, fitted):
    crops = stripes[0]
    maps = fitted.maps(crops)
    assert maps.shape == (192, 16, 2, 2)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(fitted.transform(crops), maps.mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert fitted.history_["epoch"].tolist() == [0, 1, 2]
    assert list(fitted.history_) == ["epoch", "loss", "top1", "effective_rank", "sd"]


def test_a_crop_alone_is_as_in_a_batch(stripes, fitted):
    crops = stripes[0]
    together = fitted.maps(crops)
    np.testing.assert_allclose(
        np.concatenate([fitted.maps(crops[i : i + 1]) for i in range(5)]), together[:5], atol=1e-5
    )


def test_training_learns_to_tell_crops_apart():
    # coarse random patterns, each crop another one; one key of 33 is right, an untrained network finds about 0.2
    crops = np.kron(np.random.default_rng(0).random((64, 1, 4, 4)), np.ones((4, 4)))
    changed = {"max_epochs": 40, "batch_size": 32, "queue_size": 1, "momentum": 0.9, "turns": False, "flips": False}
    trained = ContrastiveEncoder(**settings(**changed)).fit(crops).history_["top1"]
    still = ContrastiveEncoder(**settings(**changed, lr=1e-9)).fit(crops).history_["top1"]
    assert still.iloc[-1] < 0.35
    assert trained.iloc[-1] > 0.65


def test_labels_separate_classes(stripes):
    crops, labels = stripes
    encoder = ContrastiveEncoder(**settings(max_epochs=30)).fit(crops[:128], labels[:128])
    known, new = encoder.transform(crops[:128]), encoder.transform(crops[128:])
    centres = np.stack([known[labels[:128] == c].mean(0) for c in (0, 1)])
    nearest = np.linalg.norm(new[:, None] - centres[None], axis=2).argmin(1)
    assert np.mean(nearest == labels[128:]) > 0.9


def test_history_scores_the_untrained_network_and_each_epoch(stripes):
    crops, labels = stripes
    table = ContrastiveEncoder(**settings(max_epochs=12)).fit(crops, labels).history_
    assert list(table) == ["epoch", "loss", "top1", "effective_rank", "sd", "knn"]
    assert table[["loss", "top1"]].iloc[0].isna().all()
    assert table["knn"].between(0, 1).all()
    assert table["knn"].iloc[-1] > 0.95


def test_same_seed_same_weights(stripes, fitted, global_state):
    again = ContrastiveEncoder(**settings()).fit(stripes[0])
    np.testing.assert_array_equal(again.transform(stripes[0]), fitted.transform(stripes[0]))
    other = ContrastiveEncoder(**settings(rng=1)).fit(stripes[0])
    assert not np.allclose(other.transform(stripes[0]), fitted.transform(stripes[0]))


def test_lazy_crops_are_the_same(stripes, fitted):
    lazy = da.from_array(stripes[0], chunks=(40, 2, 16, 16))
    other = ContrastiveEncoder(**settings()).fit(lazy)
    np.testing.assert_array_equal(other.transform(lazy), fitted.transform(stripes[0]))


def test_interrupted_run_goes_on_to_the_same_result(stripes, fitted, tmp_path, monkeypatch):
    import saescape.contrastive._train as module

    path = tmp_path / "run.safetensors"
    real, calls = module._epoch, []

    def killed(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(module, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        ContrastiveEncoder(**settings()).fit(stripes[0], checkpoint=path)
    monkeypatch.setattr(module, "_epoch", real)
    resumed = ContrastiveEncoder(**settings()).fit(stripes[0], checkpoint=path)
    np.testing.assert_array_equal(resumed.transform(stripes[0]), fitted.transform(stripes[0]))
    pd.testing.assert_frame_equal(resumed.history_, fitted.history_)
    with pytest.raises(ValueError, match="another run"):
        ContrastiveEncoder(**settings(lr=0.01)).fit(stripes[0], checkpoint=path)
    with pytest.raises(ValueError, match="labels_and_groups"):
        ContrastiveEncoder(**settings()).fit(stripes[0], stripes[1], checkpoint=path)
    with pytest.raises(ValueError, match="does not hold an encoder"):
        ContrastiveEncoder.load(path)


def test_supervised_balanced_run_goes_on_to_the_same_result(stripes, tmp_path, monkeypatch):
    import saescape.contrastive._train as module

    crops, labels = stripes
    groups = {"plate": np.arange(192) % 3}
    whole = ContrastiveEncoder(**settings(max_epochs=3)).fit(crops, labels, groups)
    path, real = tmp_path / "run.safetensors", module._epoch

    def killed(run, *args):
        if run.epoch == 2:
            raise KeyboardInterrupt
        return real(run, *args)

    monkeypatch.setattr(module, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        ContrastiveEncoder(**settings(max_epochs=3)).fit(crops, labels, groups, checkpoint=path)
    monkeypatch.setattr(module, "_epoch", real)
    resumed = ContrastiveEncoder(**settings(max_epochs=3)).fit(crops, labels, groups, checkpoint=path)
    np.testing.assert_array_equal(resumed.transform(crops), whole.transform(crops))
    pd.testing.assert_frame_equal(resumed.history_, whole.history_)
    pd.testing.assert_frame_equal(resumed.n_sampled_, whole.n_sampled_)


def test_file_round_trip(stripes, fitted, tmp_path, global_state):
    path = tmp_path / "encoder.safetensors"
    fitted.save(path)
    loaded = ContrastiveEncoder.load(path)
    np.testing.assert_array_equal(loaded.transform(stripes[0]), fitted.transform(stripes[0]))
    assert loaded.n_dims == 16
    pd.testing.assert_frame_equal(loaded.history_, fitted.history_)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(stripes[0]), fitted.transform(stripes[0]))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read"):
        ContrastiveEncoder.load(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        ContrastiveEncoder.load(tmp_path / "other.safetensors")


def test_balance_is_reported(stripes):
    crops, labels = stripes
    groups = pd.DataFrame({"line": np.where(np.arange(192) < 10, "a", "b")})
    encoder = ContrastiveEncoder(**settings(max_epochs=1)).fit(crops, np.array(["dots", "lines"])[labels], groups)
    table = encoder.n_sampled_
    assert table["n_crops"].sum() == 192
    np.testing.assert_allclose(table["share_of_draws"], 0.25)
    assert set(table["label"]) == {"dots", "lines"}
    rare = table["line"] == "a"
    assert (table["n_drawn"] == table["n_crops"])[rare].all()
    # a quarter of the draws do not reach all crops of a large group, and this is said
    assert (table["n_drawn"] < table["n_crops"])[~rare].all()


def test_crops_that_were_never_drawn_are_reported(stripes, logged):
    ContrastiveEncoder(**settings(max_epochs=1)).fit(stripes[0])
    assert not any("never drawn" in line for line in logged)
    ContrastiveEncoder(**settings(max_epochs=1)).fit(stripes[0], groups=np.where(np.arange(192) < 10, "a", "b"))
    assert any("of 192 crops were never drawn" in line for line in logged)


def test_maps_are_tokens_of_images(stripes, tmp_path):
    images = list((1000 * stripes[0][:40]).astype(np.uint16))
    adata = sae.pp.image_to_adata(images, normalize="dtype", qc=False, show_progress_bar=False)
    crops = sae.get.crops(adata)
    encoder = ContrastiveEncoder(**settings(batch_size=20)).fit(crops)
    encoded = sae.pp.image_to_adata(
        images, encoder=encoder, normalize="dtype", tokens=True, qc=False, show_progress_bar=False, device="cpu"
    )
    np.testing.assert_allclose(encoded.X, encoder.transform(crops), atol=1e-5)
    assert encoded.obsm["tokens"].shape == (40, 4, 16)
    encoder.save(tmp_path / "encoder.safetensors")
    from_file = sae.pp.image_to_adata(
        images, encoder=str(tmp_path / "encoder.safetensors"), normalize="dtype", qc=False, show_progress_bar=False
    )
    np.testing.assert_allclose(from_file.X, encoded.X, atol=1e-5)


def test_collapse_is_an_error():
    same = np.tile(np.random.default_rng(0).random((1, 1, 16, 16), dtype=np.float32), (40, 1, 1, 1))
    encoder = ContrastiveEncoder(**settings(turns=False, flips=False, shift=0, intensity=0, noise=0))
    with pytest.raises(ValueError, match="collapsed in epoch 1"):
        encoder.fit(same)


@pytest.mark.parametrize(
    ("changed", "arguments", "error", "match"),
    [
        ({}, {"crops": np.zeros((40, 16, 16))}, ValueError, "4 dimensions"),
        ({}, {"crops": np.zeros((40, 1, 4, 4))}, ValueError, "at least 8 x 8"),
        ({}, {"crops": np.zeros((40, 1, 16, 16), dtype=complex)}, TypeError, "real numbers"),
        ({}, {"crops": np.zeros((20, 1, 16, 16))}, ValueError, "at least 32, found 20"),
        ({}, {"labels": ["a"] * 40}, ValueError, "at least two different"),
        ({}, {"labels": ["a", "b"]}, ValueError, r"one value per crop \(40\), found 2"),
        ({}, {"groups": [["p"] * 3]}, ValueError, "one value per crop"),
        ({"momentum": 1.0}, {}, ValueError, "`momentum` must be"),
        ({"temperature": 0}, {}, ValueError, "`temperature` must be"),
        ({"n_dims": 4}, {}, ValueError, "`n_dims` must be"),
    ],
)
def test_bad_input(changed, arguments, error, match):
    arguments = {"crops": np.random.default_rng(0).random((40, 1, 16, 16))} | arguments
    with pytest.raises(error, match=match):
        ContrastiveEncoder(**settings(**changed)).fit(**arguments)


def test_bad_pixels_are_found():
    crops = np.random.default_rng(0).random((40, 1, 16, 16))
    crops[17, 0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="the first is in crop 17"):
        ContrastiveEncoder(**settings()).fit(crops)


def test_untrained_and_unfitted(stripes, fitted):
    untrained = ContrastiveEncoder(**settings(max_epochs=0)).fit(stripes[0])
    assert untrained.transform(stripes[0]).shape == (192, 16)
    with pytest.raises(NotFittedError):
        ContrastiveEncoder().transform(stripes[0])
    with pytest.raises(ValueError, match="trained on 2 channels, found 1"):
        fitted.transform(stripes[0][:, :1])
