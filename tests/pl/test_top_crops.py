from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape.imaging._preview import channel_colors, composite


@pytest.fixture(scope="module")
def _adata():
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 100), dtype=int)
    for i in range(15):
        labels[20 * (i // 5) + 4 : 20 * (i // 5) + 15, 20 * (i % 5) + 3 : 20 * (i % 5) + 14] = i + 1
    image = (rng.random((3, 60, 100)) * 50 + 1000 * rng.random((3, 16))[:, labels]).astype(np.uint16)
    adata = sae.pp.image_to_adata(
        image, labels, channel_names=["DAPI", "GFP", "RFP"], crop_size=20, show_progress_bar=False
    )
    codes = np.zeros((15, 6), dtype=np.float32)
    codes[[3, 7, 11], 2] = [1.0, 4.0, 2.5]
    codes[:, 4] = np.arange(15)
    adata.obsm["X_sae"] = sparse.csr_matrix(codes)
    adata.obs["line"] = ["x", "y", "z"] * 5
    return adata


@pytest.fixture
def adata(_adata):
    return _adata.copy()


def shown(ax):
    return [image.get_array() for image in ax.images]


def test_most_active_first_with_their_activation(adata):
    axes = sae.pl.top_crops(adata, ["sae_2", 4, 0], n_crops=5, groupby="line", show=False)
    assert axes.shape == (3, 5)
    assert [ax.get_title() for ax in axes[0]] == ["4\ny", "2.5\nz", "1\nx", "", ""]
    assert [ax.get_title().split("\n")[0] for ax in axes[1]] == ["14", "13", "12", "11", "10"]
    assert [len(shown(ax)) for ax in axes.ravel()] == [1] * 3 + [0] * 2 + [1] * 5 + [0] * 5
    assert axes[0, 0].get_ylabel() == "sae_2\n20% active"
    assert axes[2, 0].get_ylabel() == "sae_0\nnever active"


def test_pixels_are_those_of_the_observation(adata):
    axes = sae.pl.top_crops(adata, 2, n_crops=1, outline=False, show=False)
    crop = sae.get.crops(adata, adata.obs_names[7], mask_crops=False)[0]
    np.testing.assert_array_equal(shown(axes[0, 0])[0], composite(crop, ["DAPI", "GFP", "RFP"]))
    assert not axes[0, 0].collections
    outlined = sae.pl.top_crops(adata, 2, n_crops=1, show=False)[0, 0]
    assert len(outlined.collections) == 1
    # the outline of the 11 x 11 label around the middle of the 20 x 20 crop
    box = outlined.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose([box.x0, box.x1, box.y0, box.y1], [4.5, 15.5, 4.5, 15.5], atol=0.51)


def test_one_channel_is_grey(adata):
    axes = sae.pl.top_crops(adata, 2, channels="GFP", show=False)
    picture = shown(axes[0, 0])[0]
    assert (picture == picture[..., :1]).all()
    texts = [text.get_text() for text in plt.gcf().legends[0].get_texts()]
    assert texts == ["GFP"]


def test_names_of_the_model_and_other_keys(adata):
    adata.obsm["mine"] = adata.obsm["X_sae"]
    adata.uns["mine"] = {"features": pd.DataFrame(index=[f"f{i}" for i in range(6)])}
    axes = sae.pl.top_crops(adata, "f2", key="mine", n_crops=2, show=False)
    assert axes[0, 0].get_ylabel().startswith("f2\n")


def test_rgb_is_shown_as_it_is():
    image = np.random.default_rng(0).integers(0, 255, (3, 40, 40)).astype(np.uint8)
    adata = sae.pp.image_to_adata(image, channel_names=["R", "G", "B"], tile_size=20, show_progress_bar=False)
    adata.obsm["X_sae"] = np.eye(4, dtype=np.float32)
    axes = sae.pl.top_crops(adata, 3, n_crops=2, show=False)
    np.testing.assert_array_equal(shown(axes[0, 0])[0], image[:, 20:, 20:].transpose(1, 2, 0))
    assert not plt.gcf().legends


def test_shown_when_asked(adata, monkeypatch):
    calls = []
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: calls.append(1))
    assert sae.pl.top_crops(adata, 2, show=True).shape == (1, 8)
    assert calls == [1]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        (("sae_9",), {}, KeyError, "'sae_9' is none of the 6 features 'sae_0' ... 'sae_5'"),
        ((6,), {}, ValueError, "`features` must be between 0 and"),
        (([],), {}, ValueError, "`features` is empty"),
        ((2,), {"key": "nope"}, KeyError, "`key='nope'`"),
        ((2,), {"channels": ["Cy5"]}, KeyError, "Available channels: .*DAPI"),
        ((2,), {"groupby": "nope"}, KeyError, "`groupby='nope'`"),
        ((2,), {"n_crops": 0}, ValueError, "`n_crops` must be at least 1"),
    ],
)
def test_errors(adata, args, kwargs, error, match):
    with pytest.raises(error, match=match):
        sae.pl.top_crops(adata, *args, show=False, **kwargs)


def test_errors_without_images_and_names(adata, small):
    small.obsm["X_sae"] = small.X
    with pytest.raises(KeyError, match="image_to_adata"):
        sae.pl.top_crops(small, 0, show=False)
    adata.obs_names = ["a"] * 15
    with pytest.raises(ValueError, match="not unique"):
        sae.pl.top_crops(adata, 2, show=False)


def test_colors():
    names = ["GFP", "DAPI", "membrane", "RFP"]
    colors = channel_colors(names)
    assert colors[1].argmax() == 2
    assert colors[0].argmax() == 1
    assert len({tuple(color) for color in colors}) == 4
    assert channel_colors(["DAPI"]).tolist() == [[1, 1, 1]]
