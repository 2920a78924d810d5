from __future__ import annotations

import numpy as np
from scipy import sparse

import saescape as sae

from .gw_pairs import foscttm, mapped, pair
from .report import Check, Claim, spread

_CELLS, _N_PROGRAMS, _RATIO, _N_POSITIONS = 300, 64, 4, 64
_REPS = {"pooled": "X_image", "SAE codes": "X_sae", "true codes": "X_true"}


def run(seeds: list[int]) -> Claim:
    """T15: the same RNA, with superposed embeddings, decoded codes and the truth on the image side."""
    claim = Claim("T15", "GW suffers from superposition: pooled embeddings align worse than SAE codes (m/d 4)")
    found = np.empty((len(seeds), len(_REPS), 3))
    for s, seed in enumerate(seeds):
        adata, adata_ref = _decoded(seed)
        for r, rep in enumerate(_REPS.values()):
            mapped(adata, adata_ref, use_rep=rep)
            result = adata.uns["gw_map"]
            found[s, r] = foscttm(adata, adata_ref), result["gw_loss"], result["ambiguous"]
    pooled, decoded, true = found[:, :, 0].T
    claim.checks.append(Check("FOSCTTM, pooled minus SAE codes", pooled - decoded, 0.0))
    claim.checks.append(Check("FOSCTTM, pooled minus true codes", pooled - true, 0.0))
    claim.say(
        f"{_N_PROGRAMS} programs in {_N_PROGRAMS // _RATIO} dimensions, 8 types, {_CELLS} cells with {_N_POSITIONS} "
        "tokens, default fits, default metrics:"
    )
    rows = [
        [name, *(spread(column) for column in found[:, r].T), f"{(found[:, r, 0] < 0.15).sum()} of {len(seeds)}"]
        for r, name in enumerate(_REPS)
    ]
    claim.table(["representation", "FOSCTTM", "loss", "share ambiguous", "FOSCTTM below .15"], rows)
    return claim


def _decoded(seed: int):
    adata, adata_ref = pair(
        _CELLS,
        seed,
        n_types=8,
        n_programs=_N_PROGRAMS,
        n_dims=_N_PROGRAMS // _RATIO,
        n_genes=1500,
        n_positions=_N_POSITIONS,
        noise=0.02,
    )
    sae.tl.sae_fit(adata, use_rep="tokens", rng=seed, show_progress_bar=False)
    adata.obsm["X_true"] = sparse.csr_matrix(adata.obsm["programs"])
    return adata, adata_ref
