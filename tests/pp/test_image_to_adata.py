from __future__ import annotations

import anndata as ad
import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
from skimage.measure import regionprops_table

import saescape as sae
from saescape.imaging import _store


def to_adata(*args, **kwargs):
    return sae.pp.image_to_adata(*args, show_progress_bar=False, **kwargs)


def test_cells_of_one_field(field):
    image, labels = field
    before = image.copy(), labels.copy()
    adata = to_adata(image, labels, channel_names=["DAPI", "GFP", "RFP"])
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])
    table = regionprops_table(
        labels, np.moveaxis(image, 0, -1), properties=("label", "area", "centroid", "intensity_mean", "intensity_std")
    )
    assert adata.X.dtype == np.float32
    assert np.isfinite(adata.X).all()
    assert adata.obs["instance_id"].tolist() == table["label"].tolist()
    assert adata.obs["area"].tolist() == table["area"].tolist()
    assert adata.obs_names[0] == "image_1"
    assert adata.obs["region"].dtype == "category"
    np.testing.assert_allclose(adata.obsm["spatial"], np.stack([table["centroid-1"], table["centroid-0"]], axis=1))
    for i, channel in enumerate(["DAPI", "GFP", "RFP"]):
        np.testing.assert_allclose(adata[:, f"{channel}_mean"].X[:, 0], table[f"intensity_mean-{i}"], rtol=1e-5)
        np.testing.assert_allclose(adata[:, f"{channel}_sd"].X[:, 0], table[f"intensity_std-{i}"], rtol=1e-5)
    assert {"qc_focus_DAPI", "qc_pass", "touches_border", "row", "col"} <= set(adata.obs)
    assert "qc_pass" not in to_adata(image, labels, qc=False).obs


def test_scattered_ids_give_the_same_rows(field):
    image, labels = field
    ids = np.concatenate([[0], np.sort(np.random.default_rng(0).choice(5000, 40, replace=False)) + 1])
    plain, scattered = to_adata(image, labels), to_adata(image, ids[labels])
    np.testing.assert_array_equal(plain.X, scattered.X)
    assert scattered.obs["instance_id"].tolist() == ids[1:].tolist()
    np.testing.assert_array_equal(
        sae.get.crops(to_adata(image, ids[labels], encoder="filters")),
        sae.get.crops(to_adata(image, labels, encoder="filters")),
    )


@pytest.mark.parametrize("encoder", ["features", "filters"])
@pytest.mark.parametrize("rows", ["labels", "centers", "tiles"])
def test_blocks_batches_and_dask_change_nothing(field, encoder, rows):
    image, labels = field
    spots = np.random.default_rng(0).uniform(0, 199, (30, 2))
    given = {"labels": {"labels": labels}, "centers": {"centers": spots}, "tiles": {"tile_size": 32, "stride": 20}}[
        rows
    ]
    whole = to_adata(image, encoder=encoder, **given)
    blocked = to_adata(da.from_array(image, chunks=(1, 50, 70)), encoder=encoder, chunks=47, batch_size=5, **given)
    np.testing.assert_allclose(blocked.X, whole.X, rtol=1e-5, atol=1e-5)
    assert blocked.obs.columns.tolist() == whole.obs.columns.tolist()
    assert blocked.obs["qc_reason"].tolist() == whole.obs["qc_reason"].tolist()
    for column in whole.obs.columns.drop(["region", "qc_reason"]):
        np.testing.assert_allclose(blocked.obs[column].astype(float), whole.obs[column].astype(float), rtol=1e-5)


def test_a_cell_alone_gives_the_same_vector(field):
    image, labels = field
    together = to_adata(image, labels, encoder="filters", normalize="dtype", tokens=True)
    alone = to_adata(image, np.where(labels == 17, 17, 0), encoder="filters", normalize="dtype", tokens=True)
    assert alone.obs_names.tolist() == ["image_17"]
    np.testing.assert_allclose(alone.X, together["image_17"].X, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(alone.obsm["tokens"], together["image_17"].obsm["tokens"], rtol=1e-5, atol=1e-7)
    named = to_adata(image, np.where(labels == 17, 17, 0), normalize="dtype")
    intensities = [name for name in named.var_names if name.endswith(("_mean", "_q50", "_skewness")) or "shape" in name]
    np.testing.assert_allclose(
        named[:, intensities].X, to_adata(image, labels)["image_17", intensities].X, rtol=1e-5, atol=1e-6
    )


def test_tokens_and_names_of_filters(field):
    image, labels = field
    adata = to_adata(image, labels, channel_names=["a", "b", "c"], encoder="filters", tokens=True)
    assert adata.obsm["tokens"].shape == (40, 64, adata.n_vars)
    assert adata.obsm["tokens"].dtype == np.float32
    assert adata.uns["image_to_adata"]["token_grid"].tolist() == [8, 8]
    assert "b_gradient_s2" in adata.var_names
    np.testing.assert_allclose(adata.obsm["tokens"].mean(1), adata.X, rtol=1e-4, atol=1e-6)
    # a token is the mean of the pixels below it
    first = sae.get.crops(adata, "image_1")[0, 1].reshape(8, 8, 8, 8).mean((1, 3)).ravel()
    at = adata.var_names.get_loc("b_intensity")
    np.testing.assert_allclose(adata.obsm["tokens"][0, :, at], first, rtol=1e-4, atol=1e-6)


def test_network_sees_scaled_masked_padded_crops(field, global_state):
    image, labels = field
    seen = []

    def spy(crops):
        seen.append(crops.numpy().copy())
        return crops.mean((2, 3))

    adata = to_adata(image, labels, encoder=spy, crop_size=41, batch_size=16)
    crops = np.concatenate(seen[:1] + seen[2:])  # the second call repeats the first crop
    assert crops.shape == (40, 3, 41, 41)
    assert adata.var_names.tolist() == ["image_0", "image_1", "image_2"]
    low, high = np.percentile(image.reshape(3, -1), (0.1, 99.9), axis=1)
    np.testing.assert_allclose(adata.uns["image_to_adata"]["bounds"], np.stack([low, high], axis=1))
    padded = np.pad(
        np.clip((image - low[:, None, None]) / (high - low)[:, None, None], 0, 1), ((0, 0), (41, 41), (41, 41))
    )
    own = np.pad(labels, 41)
    for crop, (_, row) in zip(crops, adata.obs.iterrows(), strict=True):
        window = (slice(row["row"] + 21, row["row"] + 62), slice(row["col"] + 21, row["col"] + 62))
        expected = padded[(slice(None), *window)] * (own[window] == row["instance_id"])
        np.testing.assert_allclose(crop, expected, atol=1e-6)


def test_module_encoder_keeps_its_mode(field):
    image, labels = field
    torch_state = torch.random.get_rng_state()
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 4, stride=4), torch.nn.BatchNorm2d(6), torch.nn.ReLU())
    torch.random.set_rng_state(torch_state)
    adata = to_adata(image, labels, encoder=net, tokens=True, pool="max")
    assert net.training
    assert adata.obsm["tokens"].shape == (40, 256, 6)
    np.testing.assert_array_equal(adata.obsm["tokens"].max(1), adata.X)
    assert adata.uns["image_to_adata"]["params"]["encoder"] == "Sequential"


def test_fields_by_sequence_dict_and_path(field, tmp_path):
    image, labels = field
    fields = {"w/1": image[:, :100], "w2": image[:, 100:]}
    masks = {"w2": labels[100:], "w/1": labels[:100]}
    by_dict = to_adata(fields, masks)
    assert by_dict.obs["region"].cat.categories.tolist() == ["w_1", "w2"]
    assert by_dict.obs_names.is_unique
    by_list = to_adata(list(fields.values()), [masks["w/1"], masks["w2"]], region="plate")
    assert by_list.obs["region"].cat.categories.tolist() == ["plate_0", "plate_1"]
    np.testing.assert_array_equal(by_dict.X, by_list.X)
    paths = {"images": {}, "labels": {}}
    for name in fields:
        for kind, arrays in (("images", fields), ("labels", masks)):
            paths[kind][name] = tmp_path / f"{kind}_{name.replace('/', '_')}.tif"
            array = arrays[name]
            tifffile.imwrite(
                paths[kind][name],
                array.astype(np.uint16),
                photometric="minisblack",
                metadata={"axes": "CYX"[-array.ndim :]},
            )
    by_path = to_adata(paths["images"], paths["labels"])
    np.testing.assert_array_equal(by_path.X, by_dict.X)
    entry = by_path.uns["image_to_adata"]["fields"]["w_1"]
    assert entry["source"] == "path"
    assert "pixels" not in entry
    np.testing.assert_array_equal(sae.get.crops(by_path), sae.get.crops(by_dict))


def test_tiles_and_whole_images(field):
    image, _ = field
    tiles = to_adata(image, tile_size=50)
    assert tiles.shape[0] == 4 * 5
    assert not [name for name in tiles.var_names if name.startswith("shape")]
    np.testing.assert_allclose(tiles[1, "channel_0_mean"].X[0, 0], image[0, :50, 50:100].mean(), rtol=1e-5)
    np.testing.assert_allclose(tiles.obs["qc_mean_channel_1"].iloc[6], image[1, 50:100, 50:100].mean(), rtol=1e-6)
    whole = to_adata([image[:, :60], image[:, 60:]])
    assert whole.obs_names.tolist() == ["image_0", "image_1"]
    np.testing.assert_allclose(whole[1, "channel_2_max"].X[0, 0], image[2, 60:].max())
    vectors = to_adata([image[:, :60], image[:, 60:]], encoder="filters", tokens=True)
    assert vectors.obsm["tokens"].shape[:2] == (2, 64)


def test_centers_are_measured_on_the_part_inside(field):
    image, _ = field
    adata = to_adata(image, centers=np.array([[0.0, 0.0], [100.0, 50.0]]), crop_size=20)
    np.testing.assert_allclose(adata[0, "channel_0_mean"].X[0, 0], image[0, :10, :10].mean(), rtol=1e-5)
    assert adata.obs["area"].tolist() == [100, 400]
    assert adata.obs["touches_border"].tolist() == [True, False]
    assert adata.obsm["spatial"].tolist() == [[0, 0], [100, 50]]


@pytest.mark.parametrize("fmt", ["h5ad", "zarr"])
def test_round_trip(field, tmp_path, fmt):
    image, labels = field
    adata = to_adata({"a": image, "b": image[:, :90]}, {"a": labels, "b": labels[:90]}, encoder="filters", tokens=True)
    path = tmp_path / f"a.{fmt}"
    getattr(adata, f"write_{fmt}")(path)
    back = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[fmt](path)
    np.testing.assert_array_equal(back.obsm["tokens"], adata.obsm["tokens"])
    np.testing.assert_array_equal(sae.get.crops(back), sae.get.crops(adata))
    params = back.uns["image_to_adata"]["params"]
    assert params["unit"] == "label"
    assert params["crop_size"] == 64
    assert back.uns["image_to_adata"]["channel_names"].tolist() == ["channel_0", "channel_1", "channel_2"]


def test_large_pixels_are_not_kept(field, monkeypatch):
    monkeypatch.setattr(_store, "MAX_KEPT_BYTES", 1000)
    image, labels = field
    adata = to_adata(image, labels)
    assert "pixels" not in adata.uns["image_to_adata"]["fields"]["image"]
    with pytest.raises(ValueError, match="too large to be kept"):
        sae.get.crops(adata)


def test_previews_fit_the_coordinates(field):
    image, labels = field
    image = np.kron(image, np.ones((1, 6, 6), dtype=np.uint16))
    adata = to_adata(image, np.kron(labels, np.ones((6, 6), dtype=np.int32)), qc=False)
    entry = adata.uns["spatial"]["image"]
    scale = entry["scalefactors"]["tissue_hires_scalef"]
    hires = entry["images"]["hires"]
    assert hires.dtype == np.uint8
    assert max(hires.shape) <= 1000
    assert hires.shape[1] == int(image.shape[2] * scale)
    # cells lie where the preview is brighter than on average
    x, y = (adata.obsm["spatial"] * scale).astype(int).T
    assert hires[y, x].mean() > 1.5 * hires.mean()


def test_same_seed_same_result_for_sampled_floats(field, monkeypatch):
    from saescape.imaging import _scaling

    monkeypatch.setattr(_scaling, "_SAMPLE_PIXELS", 2000)
    image, labels = field
    image = image.astype(np.float32)
    one, two, other = (to_adata(image, labels, encoder="filters", rng=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.X, two.X)
    assert not np.array_equal(one.X, other.X)
    np.testing.assert_allclose(one.X, other.X, atol=0.2)


def test_binary_mask_and_empty_field_warn_once(field):
    image, labels = field
    mask = (labels > 0).astype(np.uint8) * 255
    with pytest.warns(UserWarning, match="1 of 1 fields are binary masks") as caught:
        adata = to_adata(image, mask)
    assert len(caught) == 1
    assert adata.obs["area"].sum() == (labels > 0).sum()
    with pytest.warns(UserWarning, match=r"1 of 2 fields have no objects .* \['image_1'\]"):
        adata = to_adata([image, image], [labels, np.zeros_like(labels)])
    assert adata.n_obs == 40


IMAGE = np.zeros((2, 40, 50), dtype=np.uint16)
LABELS = np.eye(40, 50, dtype=int) * 3


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        ((IMAGE.transpose(1, 2, 0), None), {}, ValueError, "np.moveaxis"),
        ((IMAGE.astype(complex), LABELS), {}, TypeError, "complex128"),
        ((IMAGE * np.nan, LABELS), {}, ValueError, r"`image` has 4000 non-finite .* \(0, 0, 0\)"),
        ((IMAGE, LABELS[:30]), {}, ValueError, r"`labels` has shape \(30, 50\), but its image is \(40, 50\)"),
        ((IMAGE, LABELS.astype(float)), {}, TypeError, r"astype\(int\)"),
        ((IMAGE, -LABELS), {}, ValueError, "negative labels"),
        ((IMAGE, 0 * LABELS), {}, ValueError, "`labels` has no label above 0"),
        ((IMAGE, LABELS), {"tile_size": 8}, ValueError, "exclude each other"),
        ((IMAGE,), {"stride": 8}, ValueError, "needs `tile_size`"),
        ((IMAGE,), {"tile_size": 41}, ValueError, r"`tile_size` \(41\) must not be larger"),
        ((IMAGE,), {"centers": [[60, 1]]}, ValueError, "`centers`: 1 of 1 positions lie outside"),
        ((IMAGE, LABELS), {"crop_size": 1}, ValueError, "`crop_size` must be at least 2"),
        ((IMAGE, LABELS), {"channel_names": ["a"]}, ValueError, "1 names, but `image` has 2 channels"),
        ((IMAGE, LABELS), {"channel_names": ["a", "a"]}, ValueError, "must be unique"),
        ((IMAGE, LABELS), {"channel_names": "ab"}, TypeError, "sequence of names"),
        ((IMAGE, LABELS), {"encoder": "resnet"}, ValueError, r"`encoder` must be one of \['features', 'filters'\]"),
        ((IMAGE, LABELS), {"encoder": 3}, TypeError, "found int"),
        ((IMAGE, LABELS), {"tokens": True}, ValueError, "Use `encoder='filters'`"),
        ((IMAGE, LABELS), {"pool": "sum"}, ValueError, "`pool` must be one of"),
        ((IMAGE, LABELS), {"normalize": "zscore"}, ValueError, "`normalize` must be one of"),
        ((IMAGE, LABELS), {"image_key": "a"}, TypeError, "`image_key` needs a SpatialData"),
        ((IMAGE, LABELS), {"features": "colour"}, ValueError, r"must be some of \['intensity', .* found \['colour'\]"),
        (([],), {}, ValueError, "`image` is empty"),
        (([IMAGE, IMAGE], [LABELS]), {}, ValueError, "one entry per image"),
        (({"a": IMAGE}, {"b": LABELS}), {}, ValueError, "must have the same keys"),
        (({"a/b": IMAGE, "a_b": IMAGE}, None), {}, ValueError, "same name"),
        (([IMAGE, IMAGE[:1]],), {}, ValueError, r"`image\[1\]` has 1 channels"),
        (([IMAGE, IMAGE.astype(float)],), {}, ValueError, r"`image\[1\]` has dtype float64"),
    ],
)
def test_errors_come_before_the_work(args, kwargs, error, match):
    with pytest.raises(error, match=match):
        to_adata(*args, **kwargs)


def test_families_that_give_nothing(field):
    image, labels = field
    with pytest.raises(ValueError, match="gives nothing: shape needs `labels`"):
        to_adata(image, tile_size=20, features="shape")
    with pytest.raises(ValueError, match="correlation two channels"):
        to_adata(image[:1], labels, features=["correlation"])


def test_encoder_errors(field):
    image, labels = field
    with pytest.raises(ValueError, match="non-finite"):
        to_adata(image, labels, encoder=lambda x: x.mean((2, 3)) * float("nan"))
    with pytest.raises(ValueError, match="`tokens=True` needs an encoder that returns maps"):
        to_adata(image, labels, encoder=lambda x: x.mean((2, 3)), tokens=True)
    with pytest.raises(ValueError, match=r"must return \(n, d\) or maps \(n, d, h, w\), found shape"):
        to_adata(image, labels, encoder=lambda x: x[:, 0, 0, 0])
    with pytest.raises(ValueError, match="found shape"):
        to_adata(image, labels, encoder=lambda x: x[:1].mean((2, 3)))


def test_crops_larger_than_the_image_are_padded(field, logged):
    image, labels = field
    adata = to_adata(image, labels, encoder="filters", crop_size=400)
    assert any("`crop_size=400` is larger than 1 of 1 images" in message for message in logged)
    crops = sae.get.crops(adata)
    assert crops.shape[-2:] == (400, 400)
    assert crops.any()


def test_real_cell_painting():
    fields = sae.datasets.nf1_cell_painting()
    with pytest.warns(UserWarning, match="5 of 5 fields are binary masks; their 132 connected components"):
        adata = to_adata(fields.images, fields.labels, channel_names=fields.channel_names)
    assert adata.shape == (132, 109)
    assert np.isfinite(adata.X).all()
    assert adata.obs["region"].value_counts().loc["B7"] == 28
    # nuclei are where DAPI is, and most of them are in focus
    assert (adata.obs["qc_foreground_DAPI"] > 0.5).mean() > 0.95
    assert 0.7 < adata.obs["qc_pass"].mean() < 1
    image, mask = tifffile.imread(fields.images["D6"]), tifffile.imread(fields.labels["D6"])
    d6 = adata[adata.obs["region"] == "D6"]
    total = (d6[:, "GFP_sum"].X[:, 0].astype(float)).sum()
    np.testing.assert_allclose(total, image[1][mask > 0].sum(dtype=float), rtol=1e-6)
