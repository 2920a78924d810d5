from __future__ import annotations

import anndata as ad
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage, sparse

import saescape as sae
from saescape.imaging._preview import channel_colors, composite
from saescape.pl._crop_marks import bar_length


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


def lines(ax):
    return [line for line in ax.lines if len(line.get_xdata()) == 2]


def labels_of(ax):
    return [text.get_text() for text in ax.texts]


def set_pixel_size(adata, size):
    for entry in adata.uns["image_to_adata"]["fields"].values():
        entry["pixel_size"] = size


def test_numbers_of_obs_and_variables(adata):
    adata.obs["missing"] = [np.nan] * 12 + [-3.0, -1.0, -2.0]
    axes = sae.pl.top_crops(adata, ["missing", "shape_area", "sae_2"], n_crops=4, show=False)
    assert [ax.get_title() for ax in axes[0]] == ["-1", "-2", "-3", ""]
    assert axes[0, 0].get_ylabel() == "missing"
    assert axes[1, 0].get_ylabel() == "shape_area"
    crop = sae.get.crops(adata, adata.obs_names[13], mask_crops=False)[0]
    np.testing.assert_array_equal(shown(axes[0, 0])[0], composite(crop, ["DAPI", "GFP", "RFP"]))
    del adata.obsm["X_sae"]
    expected = np.sort(adata[:, "GFP_mean"].X[:, 0])[::-1][:3]
    axes = sae.pl.top_crops(adata, "GFP_mean", n_crops=3, show=False)
    assert [ax.get_title() for ax in axes[0]] == [f"{value:.3g}" for value in expected]


def test_channel_colors(adata):
    crop = sae.get.crops(adata, adata.obs_names[7], mask_crops=False)[0]
    ax = sae.pl.top_crops(adata, 2, channel_colors={"GFP": "#ff8000", "DAPI": "w"}, outline=False, show=False)[0, 0]
    rest = channel_colors(["DAPI", "GFP", "RFP"])[2]
    colors = np.array([[1, 1, 1], [1, 128 / 255, 0], rest])
    expected = (np.clip(np.einsum("chw,cr->hwr", crop, colors), 0, 1) * 255).round()
    np.testing.assert_allclose(shown(ax)[0], expected, atol=1)
    handles = plt.gcf().legends[0].legend_handles
    np.testing.assert_allclose([mpl.colors.to_rgb(handle.get_color()) for handle in handles], colors)
    # in the order of the channels shown
    ax = sae.pl.top_crops(adata, 2, channels=["GFP"], channel_colors=["tab:blue"], show=False)[0, 0]
    expected = (crop[1][..., None] * mpl.colors.to_rgb("tab:blue") * 255).round()
    np.testing.assert_allclose(shown(ax)[0], expected, atol=1)


@pytest.mark.parametrize(
    ("width", "length"), [(20, 5), (25, 10), (12.5, 5), (5, 2), (0.5, 0.2), (130, 50), (26, 10), (1e4, 2e3), (49, 10)]
)
def test_bar_lengths(width, length):
    assert bar_length(width) == pytest.approx(length)


def test_scale_bar(adata):
    assert not lines(sae.pl.top_crops(adata, 4, show=False)[0, 0])
    set_pixel_size(adata, 0.65)
    axes = sae.pl.top_crops(adata, 4, n_crops=3, show=False)[0]
    for ax in axes:
        (bar,) = lines(ax)
        # 13 um wide: 5 um are 7.7 pixels, inside of the crop
        assert np.ptp(bar.get_xdata()) == pytest.approx(5 / 0.65)
        assert bar.get_xdata().max() < 19.5
        assert ax.get_xlim() == (-0.5, 19.5)
    assert [labels_of(ax) for ax in axes] == [["5 µm"], [], []]
    assert not lines(sae.pl.top_crops(adata, 4, scale_bar=False, show=False)[0, 0])
    given = sae.pl.top_crops(adata, 4, pixel_size=6.5, crop_size=40, show=False)[0, 0]
    assert np.ptp(lines(given)[0].get_xdata()) == pytest.approx(100 / 6.5)


def test_fields_that_differ_have_their_own_bars():
    rng = np.random.default_rng(0)
    fields = {name: rng.integers(0, 99, (1, 20, 20)).astype(np.uint8) for name in "abc"}
    adata = sae.pp.image_to_adata(fields, tile_size=20, show_progress_bar=False)
    stored = adata.uns["image_to_adata"]["fields"]
    stored["a"]["pixel_size"], stored["c"]["pixel_size"] = 0.5, 2.0
    adata.obs["order"] = [3, 2, 1]
    axes = sae.pl.top_crops(adata, "order", n_crops=3, show=False)[0]
    assert [labels_of(ax) for ax in axes] == [["2 µm"], [], ["10 µm"]]
    assert [len(lines(ax)) for ax in axes] == [1, 0, 1]


def test_pixel_size_of_a_file_also_after_a_round_trip(tmp_path):
    image = np.random.default_rng(0).integers(0, 99, (2, 40, 40)).astype(np.uint16)
    about = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, photometric="minisblack", metadata=about)
    adata = sae.pp.image_to_adata(tmp_path / "a.ome.tif", tile_size=20, show_progress_bar=False)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for one in (adata, ad.read_h5ad(tmp_path / "a.h5ad")):
        ax = sae.pl.top_crops(one, "qc_mean_channel_0", show=False)[0, 0]
        assert labels_of(ax) == ["2 µm"]
        assert np.ptp(lines(ax)[0].get_xdata()) == pytest.approx(4)


@pytest.mark.parametrize("mode", ["label", "tile", "image"])
def test_thumbnails_in_place_of_pixels(monkeypatch, mode):
    from saescape.imaging import _store

    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.integers(0, 60000, (2, 48, 48)).astype(float), (0, 6, 6)).astype(np.uint16)
    labels = np.zeros((48, 48), dtype=int)
    labels[10:26, 10:26], labels[30:40, 30:40] = 1, 2
    kwargs = {"label": {"labels": labels, "crop_size": 24}, "tile": {"tile_size": 24}, "image": {}}[mode]
    side = 24 if mode == "image" else 12
    adata = sae.pp.image_to_adata(image, thumbnails=side, show_progress_bar=False, **kwargs)
    adata.obs["order"] = np.arange(adata.n_obs)
    set_pixel_size(adata, 1.0)
    expected = sae.pl.top_crops(adata, "order", n_crops=1, show=False)[0, 0]
    monkeypatch.setattr(_store, "MAX_KEPT_BYTES", 0)
    gone = sae.pp.image_to_adata(image, thumbnails=side, show_progress_bar=False, **kwargs)
    gone.obs["order"] = adata.obs["order"]
    set_pixel_size(gone, 1.0)
    with pytest.warns(UserWarning, match="Thumbnails stand in"):
        found = sae.pl.top_crops(gone, "order", n_crops=1, show=False)[0, 0]
    small = shown(expected)[0].astype(float).reshape(side, 2, side, 2, 3).mean((1, 3))
    np.testing.assert_allclose(shown(found)[0], small, atol=6)
    assert len(found.collections) == (mode == "label")
    # as long as before, in pixels of half the number
    assert labels_of(found) == labels_of(expected)
    assert np.ptp(lines(found)[0].get_xdata()) == pytest.approx(np.ptp(lines(expected)[0].get_xdata()) / 2)
    with pytest.raises(ValueError, match="too large to be kept"):
        sae.pl.top_crops(gone, "order", crop_size=10, show=False)


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
        (("line",), {}, TypeError, "column 'line' of `adata.obs` is not numeric"),
        ((2,), {"channel_colors": {"Cy5": "red"}}, KeyError, r"`channel_colors`: \['Cy5'\] not found"),
        ((2,), {"channel_colors": ["red"]}, ValueError, "`channel_colors` has 1 colors for 3 channels"),
        ((2,), {"channel_colors": "red"}, TypeError, "must be a dict of channel -> color or a sequence, found str"),
        ((2,), {"channel_colors": {"GFP": "reddish"}}, ValueError, "'reddish' for 'GFP' is no color of matplotlib"),
        ((2,), {"pixel_size": 0}, ValueError, "`pixel_size` must be greater than 0"),
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
