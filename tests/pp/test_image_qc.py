from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae


@pytest.fixture(scope="module")
def untouched():
    rng = np.random.default_rng(0)
    fields = {}
    for name, gain in (("f0", 1), ("f1", 1), ("f2", 8)):
        fields[name] = (gain * rng.poisson(500, (2, 128, 128))).astype(np.uint16)
    # one blank tile, one that is too bright
    fields["f0"][0, :16, :16] = 500
    fields["f2"][1, 32:48, 32:48] = rng.poisson(60000, (16, 16))
    return sae.pp.image_to_adata(fields, channel_names=["DAPI", "GFP"], tile_size=16, show_progress_bar=False)


@pytest.fixture
def adata(untouched):
    return untouched.copy()


def test_same_as_image_to_adata_with_the_defaults(adata, untouched):
    for slot in ("qc_pass", "qc_reason"):
        del adata.obs[slot]
    del adata.uns["image_qc"]
    assert sae.pp.image_qc(adata) is None
    pd.testing.assert_frame_equal(adata.obs, untouched.obs)
    pd.testing.assert_frame_equal(adata.uns["image_qc"]["limits"], untouched.uns["image_qc"]["limits"])
    assert adata.uns["image_qc"]["params"].keys() == untouched.uns["image_qc"]["params"].keys()
    failed = adata.obs.loc[~adata.obs["qc_pass"], "qc_reason"]
    assert failed.to_dict() == {"f0_0": "qc_focus_DAPI low", "f2_18": "qc_mean_GFP high"}
    assert adata.uns["image_qc"]["n_failed"] == 2
    assert adata.obs["qc_pass"].dtype == bool


def test_plates_instead_of_fields(adata):
    adata.obs["plate"] = np.where(adata.obs["region"] == "f2", "p2", "p1")
    sae.pp.image_qc(adata, groupby="plate")
    limits = adata.uns["image_qc"]["limits"]
    mad = limits[limits["rule"] == "mad"]
    assert set(mad["group"]) == {"p1", "p2"}
    assert mad.groupby("group")["n_obs"].first().to_dict() == {"p1": 128, "p2": 64}
    assert adata.uns["image_qc"]["params"]["groupby"] == "plate"
    adata.obs["all"] = 1
    sae.pp.image_qc(adata, groupby="all", max_saturated=None)
    # the brighter field stands out among all
    assert (~adata.obs["qc_pass"]).groupby(adata.obs["region"], observed=True).sum()["f2"] == 64


def test_thresholds_of_a_column_and_of_all_channels(adata):
    adata.obs["size"] = np.arange(192)
    sae.pp.image_qc(
        adata,
        thresholds={"qc_mean_GFP": (None, 5000), "mean": (490, None), "size": [None, 180.0]},
        n_mads=None,
        max_saturated=None,
    )
    obs = adata.obs
    expected = (obs["qc_mean_DAPI"] >= 490) & (obs["qc_mean_GFP"] <= 5000) & (np.arange(192) <= 180)
    assert obs["qc_pass"].tolist() == expected.tolist()
    rows = adata.uns["image_qc"]["limits"].set_index("column")
    # the limits of the column go before those of the measure
    assert rows.loc["qc_mean_GFP", ["low", "high"]].tolist() == [-np.inf, 5000]
    assert rows.loc["size", "n_high"] == 11
    assert set(rows["rule"]) == {"threshold"}
    assert obs["qc_reason"].iloc[190] == "size high"


def test_other_slots_and_copy(adata):
    before = adata.copy()
    changed = sae.pp.image_qc(adata, n_mads=1, key_added="strict", copy=True)
    assert "strict" not in adata.uns
    assert changed.obs["strict_pass"].sum() < changed.obs["qc_pass"].sum()
    assert changed.uns["strict"]["params"]["n_mads"] == 1
    pd.testing.assert_frame_equal(changed.obs[before.obs.columns], before.obs)
    assert {"strict_reason"} < set(changed.obs)


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_round_trip(adata, tmp_path, format):
    sae.pp.image_qc(adata, thresholds={"mean": (None, 5000), "foreground": (0.0, None)})
    path = tmp_path / f"a.{format}"
    getattr(adata, f"write_{format}")(path)
    read = getattr(ad, f"read_{format}")(path)
    pd.testing.assert_frame_equal(read.uns["image_qc"]["limits"], adata.uns["image_qc"]["limits"])
    assert read.obs["qc_reason"].tolist() == adata.obs["qc_reason"].tolist()
    read.obs["qc_pass"] = False
    sae.pp.image_qc(read, thresholds={"mean": (None, 5000), "foreground": (0.0, None)})
    assert read.obs["qc_pass"].tolist() == adata.obs["qc_pass"].tolist()


def test_after_putting_two_sets_together(adata):
    other = adata.copy()
    other.obs = other.obs.drop(columns=[c for c in other.obs if c.endswith("_GFP")])
    both = ad.concat({"x": adata, "y": other}, join="outer", label="plate", index_unique="-")
    assert "image_to_adata" not in both.uns
    both.obs["plate"] = both.obs["plate"].astype("category")
    sae.pp.image_qc(both, groupby="plate")
    assert 0.5 < both.obs["qc_pass"].mean() < 1
    limits = both.uns["image_qc"]["limits"].set_index(["column", "group"])
    assert limits.loc[("qc_focus_GFP", "y"), "n_obs"] == 0


def test_view_becomes_an_object(adata):
    part = adata[adata.obs["region"] == "f2"]
    with pytest.warns(ad.ImplicitModificationWarning):
        sae.pp.image_qc(part)
    assert part.obs["qc_pass"].sum() == 63


@pytest.mark.parametrize("value", [0, 7.5])
def test_constant_channels_fail_nothing(value):
    image = np.random.default_rng(0).normal(100, 5, (2, 96, 96)).astype(np.float32)
    image[1] = value
    with pytest.warns(UserWarning, match="has the same value"):
        adata = sae.pp.image_to_adata(image, tile_size=16, show_progress_bar=False)
    assert adata.obs["qc_pass"].all()


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"thresholds": [1, 2]}, TypeError, "`thresholds` must be a dict of column -> "),
        ({"thresholds": {"mean": 3}}, ValueError, r"`thresholds\['mean'\]` must be a pair \(low, high\)"),
        ({"thresholds": {"mean": (3, 2)}}, ValueError, r"lower limit \(3\) is above the upper one \(2\)"),
        ({"thresholds": {"mean": (np.nan, 2)}}, ValueError, r"`thresholds\['mean'\]`.*found nan"),
        ({"thresholds": {"mean": ("a", 2)}}, TypeError, "must be a number, found 'a'"),
        ({"thresholds": {"qc_mean_Cy5": (3, 4)}}, KeyError, "`thresholds='qc_mean_Cy5'`.*qc_mean_GFP"),
        ({"thresholds": {"sharpness": (3, 4)}}, KeyError, "Available keys: .'focus', 'mean'"),
        ({"thresholds": {"region": (3, 4)}}, TypeError, "column 'region' is not numeric"),
        ({"groupby": "plate"}, KeyError, "`groupby='plate'`"),
        ({"groupby": "gaps"}, ValueError, "`groupby='gaps'`: 2 observations have no value"),
        ({"n_mads": 0}, ValueError, "`n_mads` must be greater than 0"),
        ({"max_saturated": 2}, ValueError, "`max_saturated` must be at least 0 and at most 1"),
        ({"max_saturated": "all"}, TypeError, "`max_saturated` must be a number"),
    ],
)
def test_errors_leave_everything_as_it_was(adata, kwargs, error, match):
    adata.obs["gaps"] = pd.Categorical(["a"] * 190 + [None] * 2)
    before = adata.copy()
    with pytest.raises(error, match=match):
        sae.pp.image_qc(adata, **kwargs)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_no_measures(small):
    with pytest.raises(KeyError, match="no quality measures.*image_to_adata"):
        sae.pp.image_qc(small)


def test_slots_are_documented(adata):
    outputs = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text().split("## `pp.image_qc`")[1]
    outputs = outputs.split("\n## ")[0]
    before = adata.copy()
    sae.pp.image_qc(adata, key_added="new")
    assert set(adata.obs) - set(before.obs) == {"new_pass", "new_reason"}
    assert set(adata.uns) - set(before.uns) == {"new"}
    for slot in ('obs["qc_pass"]', 'obs["qc_reason"]', 'uns["image_qc"]', *adata.uns["new"]):
        assert f"`{slot}`" in outputs
        assert slot.replace('"', "'").rstrip("]") in sae.pp.image_qc.__doc__
    for column in adata.uns["new"]["limits"]:
        assert f"`{column}`" in outputs
