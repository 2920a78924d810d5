from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import sparse

import saescape as sae

pytestmark = pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")


def scored(**kwargs):
    adata = sae.datasets.superposition(60, n_positions=8, n_dims=8, **kwargs)
    adata.obsm["X_sae"] = sparse.csr_matrix(adata.obsm["concepts"])
    adata.uns["sae"] = {"params": {"use_rep": "tokens"}, "weights": {"W_dec": adata.uns["truth"]["dictionary"]}}
    sae.tl.superposition_score(adata, n_pairs=200, n_perms=7, n_refits=1)
    return adata


@pytest.mark.parametrize("n_concepts", [6, 24])
def test_axes_show_what_was_computed(n_concepts):
    adata = scored(n_concepts=n_concepts, density=0.1)
    ax = sae.pl.superposition(adata, show=False)
    result = adata.uns["superposition_score"]
    drawn = [line.get_xdata() for line in ax.lines]
    for kind in ("usage", "assignment"):
        assert any(np.array_equal(x, result["null"][kind]["values"]) for x in drawn)
    score_line = next(line for line in ax.lines if str(line.get_label()).startswith("score"))
    assert score_line.get_xdata()[0] == result["score"]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert any(f"p = {result['pvalue']:.2g}, 7 draws" in label for label in labels)
    nulls, cells = ax.figure.axes
    assert nulls is ax
    assert sum(patch.get_height() for patch in cells.patches) == 60
    ax.figure.canvas.draw()


def test_the_null_of_features_coded_again_is_drawn_where_there_is_one():
    adata = sae.datasets.superposition(60, n_positions=4, n_dims=8, n_concepts=12)
    sae.tl.sae_fit(adata, 16, use_rep="tokens", k=2, max_epochs=2, show_progress_bar=False)
    sae.tl.superposition_score(adata, n_pairs=200, n_perms=7, n_refits=1)
    ax = sae.pl.superposition(adata, show=False)
    values = adata.uns["superposition_score"]["null"]["reencoded"]["values"]
    assert any(np.array_equal(line.get_xdata(), values) for line in ax.lines)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert len(labels) == 5
    assert labels[1].startswith("permuted, coded again")


def test_given_axes_are_used(monkeypatch):
    adata = scored(n_concepts=12)
    _, ax = plt.subplots()
    assert sae.pl.superposition(adata, ax=ax, show=False) is ax
    assert len(ax.figure.axes) == 1
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    assert sae.pl.superposition(adata, ax=ax, show=True) is ax
    assert shown == [True]


def test_bad_input():
    adata = scored(n_concepts=12)
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.pl.superposition(adata, key="other")
    del adata.uns["superposition_score"]
    with pytest.raises(KeyError, match=r"superposition_score\(adata\)"):
        sae.pl.superposition(adata)
