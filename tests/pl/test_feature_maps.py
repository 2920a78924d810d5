from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae
from saescape.imaging._preview import composite
from saescape.maps._overlay import overlay

pytestmark = pytest.mark.filterwarnings(
    "ignore::saescape._warnings.SignificanceWarning", "ignore::saescape._warnings.ConvergenceWarning"
)


@pytest.fixture(scope="module")
def _adata():
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 120), dtype=int)
    for i in range(18):
        top, left = 20 * (i // 6) + 4, 20 * (i % 6) + 3
        labels[top : top + 12, left : left + 13] = i + 1
    image = (rng.random((3, 60, 120)) * 100 + 400 * rng.random((3, 19))[:, labels]).astype(np.uint16)
    adata = sae.pp.image_to_adata(
        image,
        labels,
        channel_names=["DAPI", "GFP", "RFP"],
        crop_size=16,
        encoder="filters",
        tokens=True,
        thumbnails=16,
        qc=False,
        show_progress_bar=False,
    )
    adata.obs["line"] = ["x", "y", "z"] * 6
    sae.tl.sae_fit(adata, 12, use_rep="tokens", k=2, max_epochs=3, show_progress_bar=False, device="cpu")
    return adata


@pytest.fixture
def adata(_adata):
    return _adata.copy()


@pytest.fixture
def names(adata):
    return [f"sae_{i}" for i in np.argsort(-adata.obsm["X_sae"].mean(0).A1)[:2]]


def shown(ax):
    (image,) = ax.images
    return image.get_array()


def test_crops_and_maps_are_those_of_the_exemplars(adata, names):
    sae.tl.feature_maps(adata, names, n_top=4)
    entry = adata.uns["feature_maps"]
    axes = sae.pl.feature_maps(adata, n_maps=3, show=False)
    assert axes.shape == (4, 3)
    for i, name in enumerate(names):
        part = entry["table"][entry["table"]["feature"] == name]
        crops = sae.get.crops(adata, part["obs_name"].iloc[:3], mask_crops=False)
        pictures = composite(crops, ["DAPI", "GFP", "RFP"])
        maps = overlay(pictures, entry["maps"][part.index.astype(int)][:3], part["highest"].max())
        for j in range(3):
            np.testing.assert_array_equal(shown(axes[2 * i, j]), pictures[j])
            np.testing.assert_array_equal(shown(axes[2 * i + 1, j]), maps[j])
            assert axes[2 * i, j].get_title() == f"{part['activation'].iloc[j]:.3g}"
        assert axes[2 * i, 0].get_ylabel() == name
        assert axes[2 * i + 1, 0].get_ylabel() == f"0 to {part['highest'].max():.3g}"
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["DAPI", "GFP", "RFP"]


def test_some_features_channels_and_no_outline(adata, names):
    sae.tl.feature_maps(adata, names, n_top=2, key_added="mine")
    axes = sae.pl.feature_maps(adata, names[1], key="mine", channels=["GFP"], show=False)
    assert axes.shape == (2, 2)
    assert (shown(axes[0, 0]) == shown(axes[0, 0])[..., :1]).all()
    assert len(axes[0, 0].collections) == 1
    box = axes[0, 0].collections[0].get_paths()[0].get_extents()
    # the contour is drawn around the pixels
    np.testing.assert_allclose([box.width, box.height], [13, 12], atol=0.8)
    assert not axes[1, 0].collections
    axes = sae.pl.feature_maps(adata, key="mine", outline=False, show=False)
    assert not any(ax.collections for ax in axes.flat)


def test_rows_by_group_share_the_scale_of_the_feature(adata, names):
    sae.tl.feature_maps(adata, names[0], n_top=2, groupby="line")
    axes = sae.pl.feature_maps(adata, show=False)
    assert axes.shape == (6, 2)
    assert [ax.get_ylabel() for ax in axes[::2, 0]] == [f"{names[0]}\n{group}" for group in "xyz"]
    assert len({ax.get_ylabel() for ax in axes[1::2, 0]}) == 1


def test_range_stays_a_range_when_fewer_are_drawn(adata, names):
    sae.tl.feature_maps(adata, names[0], n_top=9, exemplars="range")
    activations = adata.uns["feature_maps"]["table"]["activation"]
    axes = sae.pl.feature_maps(adata, n_maps=3, show=False)
    assert [ax.get_title() for ax in axes[0]] == [f"{activations.iloc[i]:.3g}" for i in (0, 4, 8)]


def test_one_map(adata, names):
    sae.tl.feature_maps(adata, names[0], n_top=9, exemplars="range")
    assert sae.pl.feature_maps(adata, n_maps=1, show=False).shape == (2, 1)


def test_thumbnails_in_place_of_lost_pixels(adata, names):
    sae.tl.feature_maps(adata, names[0], n_top=2)
    expected = shown(sae.pl.feature_maps(adata, show=False)[1, 0]).astype(int)
    for entry in adata.uns["image_to_adata"]["fields"].values():
        del entry["pixels"]
    with pytest.warns(UserWarning, match="Thumbnails stand in"):
        axes = sae.pl.feature_maps(adata, show=False)
    # the same up to the 8 bits of a thumbnail
    assert np.abs(shown(axes[1, 0]).astype(int) - expected).max() <= 4


def test_shown_when_asked(adata, names, monkeypatch):
    calls = []
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: calls.append(1))
    sae.tl.feature_maps(adata, names[0], n_top=1)
    sae.pl.feature_maps(adata, show=True)
    assert calls == [1]


def test_bad_input(adata, names):
    with pytest.raises(KeyError, match=r"Run `sae.tl.feature_maps\(adata, features\)`"):
        sae.pl.feature_maps(adata, show=False)
    with pytest.raises(KeyError, match=r"holds no maps; run `sae.tl.feature_maps"):
        sae.pl.feature_maps(adata, key="sae", show=False)
    sae.tl.feature_maps(adata, names[0])
    bad = [
        ({"features": "sae_99"}, KeyError, r"`features`: \['sae_99'\] not mapped; mapped are"),
        ({"features": []}, KeyError, "`features`: nothing"),
        ({"features": 3}, TypeError, "`features` must be a string or several"),
        ({"n_maps": 0}, ValueError, "`n_maps` must be at least 1"),
        ({"channels": "Cy5"}, KeyError, "`channels`"),
    ]
    for arguments, error, text in bad:
        with pytest.raises(error, match=text):
            sae.pl.feature_maps(adata, show=False, **arguments)
    first = adata.uns["feature_maps"]["table"]["obs_name"].iloc[0]
    with pytest.raises(ValueError, match=f"1 exemplars such as '{first}' are not in `adata`"):
        sae.pl.feature_maps(adata[adata.obs_names != first], show=False)
    adata.obs_names = ["a"] * adata.n_obs
    with pytest.raises(ValueError, match="`adata.obs_names` are not unique"):
        sae.pl.feature_maps(adata, show=False)
    assert not plt.get_fignums()
