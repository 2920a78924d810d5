from __future__ import annotations

import pytest

import saescape as sae


@pytest.fixture(scope="session")
def fitted():
    """Cells of two conditions on 24 wells, three times as many concepts as dimensions, and a short fit; not changed."""
    adata = sae.datasets.superposition(
        240, n_positions=32, n_dims=16, n_concepts=48, n_conditions=2, n_lines=12, n_plates=6, n_wells=4
    )
    sae.tl.sae_fit(adata, use_rep="tokens", max_epochs=35, show_progress_bar=False)
    return adata
