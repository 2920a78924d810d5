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
    sae.tl.superposition_score(adata, n_pairs=200, n_perms=7)
    return adata


@pytest.mark.parametrize("n_concepts", [6, 24])
def test_axes_show_what_was_computed(n_concepts):
    adata = scored(n_concepts=n_concepts, density=0.1)
    axes = sae.pl.superposition(adata, show=False)
    result = adata.uns["superposition_score"]
    assert axes.shape == (2,)
    drawn = [line.get_xdata() for line in axes[0].lines]
    for kind in ("usage", "assignment"):
        assert any(np.array_equal(x, result["null"][kind]["values"]) for x in drawn)
    score_line = next(line for line in axes[0].lines if str(line.get_label()).startswith("score"))
    assert score_line.get_xdata()[0] == result["score"]
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert any(f"p = {result['pvalue']:.2g}, 7 draws" in label for label in labels)
    assert sum(patch.get_height() for patch in axes[1].patches) == 60
    axes[0].figure.canvas.draw()


def test_given_axes_are_used_and_nothing_returned_when_shown(monkeypatch):
    adata = scored(n_concepts=12)
    _, axes = plt.subplots(1, 2)
    assert sae.pl.superposition(adata, ax=axes, show=False)[1] is axes[1]
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    assert sae.pl.superposition(adata, show=True) is None
    assert shown == [True]


def test_bad_input():
    adata = scored(n_concepts=12)
    with pytest.raises(KeyError, match="`key='other'`"):
        sae.pl.superposition(adata, key="other")
    with pytest.raises(ValueError, match="`ax` must be two axes, found 1"):
        sae.pl.superposition(adata, ax=plt.subplots()[1])
    del adata.uns["superposition_score"]
    with pytest.raises(KeyError, match=r"superposition_score\(adata\)"):
        sae.pl.superposition(adata)
