"""The number of active features of architectures whose sparsity comes from a penalty or a threshold."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

import saescape as sae
from saescape.sae._defaults import PENALISED

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::saescape._warnings.{name}")
    for name in ("ConvergenceWarning", "SignificanceWarning")
]
N = 6_000


def planted(d, m, l0, noise, seed):
    """Rows to fit and as many new ones."""
    rng = np.random.default_rng(seed)
    dictionary = rng.normal(size=(m, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    x = ((rng.random((2 * N, m)) < l0 / m) * (0.5 + rng.exponential(0.5, (2 * N, m)))) @ dictionary
    x += np.sqrt(noise) * x.std(0).mean() * rng.normal(size=x.shape)
    return ad.AnnData(x[:N].astype(np.float32)), ad.AnnData(x[N:].astype(np.float32))


def fitted_l0(adata, **settings):
    sae.tl.sae_fit(adata, 96, **({"max_epochs": 50, "show_progress_bar": False} | settings))
    return adata.uns["sae"]["metrics"]["l0"]


@pytest.mark.parametrize("architecture", PENALISED)
@pytest.mark.parametrize(("k", "data"), [(3, (24, 48, 3, 0.05, 0)), (6, (40, 60, 5, 0.2, 1))])
def test_penalty_is_steered_to_the_l0_that_was_asked_for(architecture, k, data):
    adata, new = planted(*data)
    l0 = fitted_l0(adata, k=k, architecture=architecture)
    # the threshold of jumprelu is calibrated on the rows trained on
    assert l0 == pytest.approx(k, rel=0.01 if architecture == "jumprelu" else 0.1)
    sae.tl.sae_transform(new, adata, show_progress_bar=False)
    assert new.uns["sae"]["metrics"]["l0"] == pytest.approx(k, rel=0.05 if architecture == "jumprelu" else 0.15)


@pytest.mark.parametrize("architecture", PENALISED)
def test_larger_fixed_penalties_leave_fewer_features(architecture):
    adata, _ = planted(24, 48, 3, 0.05, 0)
    adata = adata[:2_000].copy()
    l0 = [fitted_l0(adata, l1_coef=weight, architecture=architecture) for weight in (0.01, 0.1, 0.5)]
    assert l0[0] > 1.1 * l0[1] > 1.3 * l0[2]
    assert adata.uns["sae"]["params"]["l1_coef"] == 0.5
    # no threshold is calibrated to the default number afterwards
    assert abs(l0[0] / adata.uns["sae"]["params"]["k"] - 1) > 0.2


def test_levels_of_matryoshka():
    adata, _ = planted(24, 48, 3, 0.05, 0)
    adata = adata[:1_000].copy()
    fitted_l0(adata, k=3, architecture="matryoshka", max_epochs=3)
    features = adata.uns["sae"]["features"]
    # a sixteenth, an eighth, a quarter, all
    assert features["level"].tolist() == [0] * 6 + [1] * 6 + [2] * 12 + [3] * 72
    fitted_l0(adata, k=3, max_epochs=3)
    assert "level" not in adata.uns["sae"]["features"]
