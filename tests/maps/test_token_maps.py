"""Maps of features, against codes of every token."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

import saescape as sae
from saescape.maps import _token_maps
from saescape.maps._exemplars import exemplar_rows, spread_rows, top_rows
from saescape.maps._overlay import overlay


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(20, 6, 8)).astype(np.float32)
    model = sae.models.SparseAutoencoder(24, k=2, max_epochs=2, device="cpu").fit(tokens.reshape(-1, 8))
    return model, tokens


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("at_once", [7, 1000])
def test_maps_are_codes_of_positions(fitted, lazy, at_once, monkeypatch):
    model, tokens = fitted
    monkeypatch.setattr(_token_maps, "_TOKENS", at_once)
    rows, features = np.array([7, 3, 7, 19, 3]), np.array([0, 5, 9, 5, 0])
    given = da.from_array(tokens, chunks=(4, 6, 8)) if lazy else tokens
    found = _token_maps.token_maps(model, given, (2, 3), rows, features)
    expected = model.transform(tokens.reshape(-1, 8)).toarray().reshape(20, 2, 3, 24)
    for one, row, feature in zip(found, rows, features, strict=True):
        np.testing.assert_allclose(one, expected[row, :, :, feature], rtol=1e-5, atol=1e-6)


def test_exemplars():
    values = np.array([0.0, 3.0, 1.0, 3.0, 2.0, 5.0, 4.0])
    assert top_rows(values, 3).tolist() == [5, 6, 1]
    assert spread_rows(values, 3).tolist() == [5, 1, 2]
    assert len(top_rows(values, 10)) == len(spread_rows(values, 10)) == 6
    groups = np.array([0, 1, 0, 1, 0, -1, 1])
    assert exemplar_rows(values, 1, groups, spread=False).tolist() == [4, 6]


def test_overlay_is_grey_where_nothing_is_active():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 1] = 1.0
    found = overlay(pictures, maps, 1.0).astype(int)
    grey = pictures.mean(-1)
    np.testing.assert_allclose(found[1], np.repeat(grey[1][..., None], 3, -1), atol=1)
    colored = np.ptp(found[0], axis=-1) > 2
    assert colored[:4, 4:].all()
    assert not colored[4:].any()
    assert not colored[:4, :4].any()
