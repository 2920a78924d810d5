"""`encoder` of `image_to_adata`: whatever can be given, from the pixels to the names in `.var`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import saescape as sae

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 4000, (3, 60, 70)).astype(np.uint16)
LABELS = np.zeros((60, 70), dtype=np.int32)
for number, (y, x) in enumerate(((4, 5), (20, 30), (40, 12), (45, 50)), start=1):
    LABELS[y : y + 9, x : x + 11] = number
SETTINGS = {"channel_names": ["DNA", "ER", "AGP"], "crop_size": 16, "show_progress_bar": False}


def describe(encoder, **settings):
    return sae.pp.image_to_adata(IMAGE, LABELS, encoder=encoder, **(SETTINGS | settings))


def network(n_channels=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(n_channels, 4, 3, stride=2), torch.nn.ReLU())


def crops(adata):
    """Crops of all rows as the encoder sees them."""
    seen = describe(lambda x: x.flatten(1))
    return torch.from_numpy(seen.X).reshape(adata.n_obs, 3, 16, 16)


def test_torchscript_path_is_the_module(tmp_path):
    net, path = network(), tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(net).save(path)
    expected = describe(net)
    for given in (path, str(path), sae.models.ImageEncoder(path)):
        found = describe(given)
        np.testing.assert_allclose(found.X, expected.X, rtol=1e-5, atol=1e-6)
        assert found.var_names.tolist() == [f"image_{i}" for i in range(4)]
    with torch.inference_mode():
        np.testing.assert_allclose(expected.X, net(crops(expected)).mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_each_channel_through_a_network_of_three_channels():
    net = network()
    adata = describe(sae.models.ImageEncoder(net, channels="each"), tokens=True)
    assert adata.var_names.tolist() == [f"{name}_{i}" for name in SETTINGS["channel_names"] for i in range(4)]
    assert np.asarray(adata.obsm["tokens"]).shape == (4, 49, 12)
    with torch.inference_mode():
        expected = torch.cat([net(crops(adata)[:, [i, i, i]]) for i in range(3)], dim=1)
    np.testing.assert_allclose(adata.X, expected.mean((2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(adata.obsm["tokens"]), expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5
    )


def test_channels_by_name():
    chosen = describe(sae.models.ImageEncoder(network(2), channels=["AGP", "DNA"]))
    with torch.inference_mode():
        expected = network(2)(crops(chosen)[:, [2, 0]]).mean((2, 3))
    np.testing.assert_allclose(chosen.X, expected, rtol=1e-4, atol=1e-5)


def test_a_cell_alone_gives_the_same_vector():
    encoder = sae.models.ImageEncoder(network(), channels="mean", input_size=24)
    together = describe(encoder, normalize="dtype")
    alone = sae.pp.image_to_adata(
        IMAGE, np.where(LABELS == 3, 3, 0), encoder=encoder, normalize="dtype", batch_size=1, **SETTINGS
    )
    np.testing.assert_allclose(alone.X[0], together.X[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("encoder", "settings", "error", "match"),
    [
        ("missing.pt", {}, FileNotFoundError, "no file .*missing.pt"),
        ("resnet", {}, ValueError, "`encoder` must be one of"),
        (3, {}, TypeError, "found int"),
        (network(4), {}, ValueError, r"got 3 channels: \['DNA', 'ER', 'AGP'\] and failed"),
        (sae.models.ImageEncoder(network(2), channels=["DNA", "RNA"]), {}, ValueError, "no channel 'RNA'"),
        (lambda x: x.mean((2, 3)), {"tokens": True}, ValueError, "needs an encoder that returns maps"),
        (lambda x: x[:1], {}, ValueError, "found shape"),
        (lambda x: x * float("inf"), {}, ValueError, "non-finite"),
    ],
)
def test_errors(encoder, settings, error, match):
    with pytest.raises(error, match=match):
        describe(encoder, **settings)
