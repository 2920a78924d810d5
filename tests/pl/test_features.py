from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import saescape as sae


@pytest.fixture
def fitted(small):
    sae.tl.sae_fit(small, 32, k=2, max_epochs=10, show_progress_bar=False)
    small.obsm["X_umap"] = small.obsm["X_rep"][:, :2]
    return small


def test_colours_are_the_codes(fitted):
    before = (list(fitted.obs), list(fitted.uns))
    _, ax = plt.subplots()
    drawn = sae.pl.features(fitted, "sae_4", ax=ax, show=False, sort_order=False)
    assert drawn is ax
    assert ax.get_title() == "sae_4"
    np.testing.assert_allclose(ax.collections[0].get_array(), fitted.obsm["X_sae"][:, 4].toarray().ravel(), atol=1e-6)
    assert (list(fitted.obs), list(fitted.uns)) == before


def test_several_features_and_columns_of_obs(fitted):
    drawn = sae.pl.features(fitted, ["sae_1", "sae_2", "group"], basis="X_rep", show=False)
    assert [a.get_title() for a in drawn] == ["sae_1", "sae_2", "group"]


def test_bad_input(fitted):
    with pytest.raises(KeyError, match=r"'sae_99' is no feature \('sae_0' to 'sae_31'\)"):
        sae.pl.features(fitted, "sae_99", show=False)
    with pytest.raises(KeyError, match="`basis='X_tsne'`"):
        sae.pl.features(fitted, "sae_1", basis="tsne", show=False)
    with pytest.raises(ValueError, match="`features` is empty"):
        sae.pl.features(fitted, [], show=False)
    with pytest.raises(ValueError, match="`ax` holds one feature, found 2"):
        sae.pl.features(fitted, ["sae_1", "sae_2"], ax=plt.subplots()[1], show=False)
    with pytest.raises(KeyError, match="`key='K'`"):
        sae.pl.features(fitted, "sae_1", key="K", show=False)
