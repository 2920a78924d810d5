"""T6: a code is the same alone, among strangers, in any order and any number of times."""

from __future__ import annotations

import typing

import anndata as ad
import numpy as np
import pytest

import saescape as sae
from saescape._typing import Architecture


@pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
@pytest.mark.parametrize("inference", ["encoder", "omp"])
@pytest.mark.parametrize("architecture", typing.get_args(Architecture))
def test_codes_do_not_depend_on_the_others(architecture, inference):
    adata = sae.datasets.superposition(40, n_positions=8, n_dims=8, n_concepts=16)
    sae.tl.sae_fit(
        adata,
        24,
        use_rep="tokens",
        architecture=architecture,
        k=2,
        max_epochs=5,
        inference=inference,
        show_progress_bar=False,
    )
    codes, tokens = adata.obsm["X_sae"].toarray(), adata.obsm["tokens"]
    rng = np.random.default_rng(0)
    strangers = 50 * rng.standard_normal((100, *tokens.shape[1:])).astype(np.float32)
    order = rng.permutation(len(tokens))
    cases = [
        (tokens[[3]], codes[[3]]),
        (tokens[order], codes[order]),
        (np.concatenate([tokens[:2], strangers]), codes[:2]),
        (np.tile(tokens, (5, 1, 1)), codes),
    ]
    assert codes.max() > 0
    for others, expected in cases:
        new = ad.AnnData(obsm={"tokens": others})
        sae.tl.sae_transform(new, adata, show_progress_bar=False)
        np.testing.assert_allclose(new.obsm["X_sae"][: len(expected)].toarray(), expected, atol=1e-6 * codes.max())
