from __future__ import annotations

import numpy as np
import pytest
import spatialdata as sd
from spatialdata.models import Image2DModel, Labels2DModel
from spatialdata.transformations import Scale

import saescape as sae


def make(image, labels, *, scales=None, factor=1.0):
    moved = {"global": Scale([factor, factor], axes=("x", "y"))}
    return sd.SpatialData(
        images={
            "stain": Image2DModel.parse(
                image, dims=("c", "y", "x"), c_coords=["DAPI", "GFP", "RFP"], scale_factors=scales
            ),
            "other": Image2DModel.parse(image[:1], dims=("c", "y", "x"), c_coords=["x"]),
        },
        labels={
            "cells": Labels2DModel.parse(labels, dims=("y", "x"), scale_factors=scales),
            "moved": Labels2DModel.parse(labels, dims=("y", "x"), transformations=moved),
        },
    )


@pytest.mark.parametrize("scales", [None, [2]])
def test_same_as_arrays_and_fits_into_tables(field, scales):
    image, labels = field
    sdata = make(image, labels, scales=scales)
    adata = sae.pp.image_to_adata(sdata, image_key="stain", labels_key="cells", show_progress_bar=False)
    plain = sae.pp.image_to_adata(image, labels, channel_names=["DAPI", "GFP", "RFP"], show_progress_bar=False)
    np.testing.assert_array_equal(adata.X, plain.X)
    assert adata.var_names.tolist() == plain.var_names.tolist()
    assert adata.obs["region"].unique().tolist() == ["cells"]
    sdata.tables["image"] = adata
    table = sdata.tables["image"]
    assert sd.get_element_instances(sdata.labels["cells"]).tolist() == table.obs["instance_id"].tolist()
    np.testing.assert_array_equal(sae.get.crops(adata), sae.get.crops(plain))


def test_errors(field):
    sdata = make(*field, factor=2.0)
    for kwargs, error, match in [
        ({}, ValueError, r"`image_key` must name one of the images of the SpatialData: \['stain', 'other'\]"),
        ({"image_key": "nope"}, KeyError, "no such element in `images`"),
        ({"image_key": "stain", "labels_key": "nope"}, KeyError, "Available keys"),
        ({"image_key": "stain", "labels_key": "moved"}, ValueError, "lie differently"),
        ({"image_key": "stain", "labels": field[1]}, ValueError, "by `labels_key`"),
    ]:
        with pytest.raises(error, match=match):
            sae.pp.image_to_adata(sdata, show_progress_bar=False, **kwargs)
