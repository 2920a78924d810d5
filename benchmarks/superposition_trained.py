"""The superposition score with trained autoencoders: contamination and calibration. Called by ``superposition.py``."""

from __future__ import annotations

import itertools

import anndata as ad
import numpy as np
from scipy import sparse, stats

import saescape as sae
from saescape.superposition._distances import pair_distances, sample_pairs
from saescape.superposition._interference import interference, scale_codes
from saescape.superposition._nulls import usage_null
from saescape.superposition._reencoded import reencoded_null
from saescape.tl._superposition_recoding import fetch_recoding

QUICK = {"max_epochs": 60, "show_progress_bar": False, "device": "cpu"}
MEASURES = {
    "score (S11)": lambda u: u["score"],
    "1 - mean dimensionality": lambda u: 1 - u["measures"].loc["mean_dimensionality", "value"],
    "mean cosine": lambda u: u["measures"].loc["mean_abs_cosine", "value"],
    "effective features per dimension": lambda u: u["measures"].loc["effective_features_per_dimension", "value"],
}


def with_truth(adata):
    """The same cells with true codes and dictionary."""
    oracle = ad.AnnData(adata.X, obsm={"tokens": adata.obsm["tokens"]})
    oracle.obsm["X_sae"] = sparse.csr_matrix(adata.obsm["concepts"])
    weights = {"W_dec": adata.uns["truth"]["dictionary"]}
    oracle.uns["sae"] = {"weights": weights, "params": {"use_rep": "tokens"}, "metrics": {"fvu": 0.0}}
    return oracle


def contamination_trained(*, tokens):
    """Scores of trained and of true codes beside the contamination, over 24 settings."""
    rows = []
    for seed, (ratio, l0, coherence) in enumerate(itertools.product((0.5, 1, 1.5, 2, 3, 4), (2, 8), (0.0, 0.5))):
        m, n, positions = int(32 * ratio), 500 if tokens else 4_000, 16 if tokens else 1
        l0 = l0 // 2 if tokens else l0
        density = min(l0 / m, 0.5)
        sizes = {"n_positions": positions, "n_dims": 32, "n_concepts": m}
        adata = sae.datasets.superposition(n, **sizes, density=density, coherence=coherence, rng=seed)
        inference = "omp" if tokens else "encoder"
        sae.tl.sae_fit(adata, max(m, 16), use_rep="tokens", k=l0, inference=inference, **QUICK)
        sae.tl.superposition_score(adata, n_perms=20, n_pairs=20_000, n_refits=0)
        truth = sae.tl.superposition_score(with_truth(adata), n_perms=1, n_pairs=100, copy=True)
        concepts, rep = np.asarray(adata.obsm["concepts"][:1_500], dtype=float), adata.X[:1_500].astype(float)
        held = concepts.sum(1) > 0
        pairs = sample_pairs(len(rep), 20_000, np.random.default_rng(0))
        kept = stats.spearmanr(pair_distances(concepts, *pairs), pair_distances(rep, *pairs)).statistic
        found = adata.uns["superposition_score"]
        rows.append(
            [
                *(measure(found) for measure in MEASURES.values()),
                truth.uns["superposition_score"]["score"],
                1 - sae.metrics.knn_recall(rep, concepts, 10),
                1 - sae.metrics.knn_recall(rep[held], concepts[held], 10),
                1 - kept,
            ]
        )
    table = np.array(rows)
    return {
        name: [stats.spearmanr(table[:, i], table[:, j]).statistic for j in (-3, -2, -1)]
        for i, name in enumerate([*MEASURES, "score of true codes and dictionary"])
    }


def planted(seed, ratio, n, positions, *, aligned, d=16, l0=2):
    """Cells of independent features, or of modules that fire together and have similar directions."""
    rng = np.random.default_rng(seed)
    m = int(d * ratio)
    rows = rng.standard_normal((m, d))
    if m <= d:
        rows = np.linalg.qr(rows.T)[0].T
    module = rng.permutation(m) % (m // 4)
    if aligned:
        centres = rng.standard_normal((m // 4, d))
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows + 0.7 * (centres / np.linalg.norm(centres, axis=1, keepdims=True))[module]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rate = rng.gamma(0.5, 2, (n, 1, m // 4))[:, :, module] if aligned else rng.gamma(0.5, 2, (n, 1, m))
    on = rng.random((n, positions, m)) < np.minimum(l0 / m * rate, 1)
    tokens = (on * rng.gamma(3, 1 / 3, on.shape)) @ rows + 0.05 * rng.standard_normal((n, positions, d))
    adata = ad.AnnData(tokens.mean(1).astype(np.float32))
    adata.obsm["tokens"] = tokens.astype(np.float32)
    return adata, rows


def _trained_nulls(seed, inference, ratio, n, positions, *, aligned):
    adata, truth = planted(seed, ratio, n, positions, aligned=aligned)
    sae.tl.sae_fit(adata, max(16, len(truth)), use_rep="tokens", k=2, inference=inference, rng=seed, **QUICK)
    fit, codes, rng = adata.uns["sae"], adata.obsm["X_sae"], np.random.default_rng(seed)
    recoding, reason = fetch_recoding(adata, None, fit, codes, n_perms=19, rng=rng)
    assert recoding is not None, reason
    scaled, unit = scale_codes(codes, fit["weights"]["W_dec"])
    found, blocks = interference(scaled, unit), np.zeros(n, dtype=int)
    again = reencoded_null(recoding, blocks[recoding.cells], score=found.score, rng=rng)
    usage = usage_null(scaled, unit, blocks, crowding=found.crowding, n_perms=19, rng=rng)
    mmcs = sae.metrics.mmcs(truth, fit["weights"]["W_dec"])
    return usage.pvalue, again.pvalue, max(usage.pvalue, again.pvalue), usage.z, again.z, mmcs


def calibration_trained(n_sets=10):
    """Lines of a table: share of p <= .05 under both nulls of codes, after training."""
    lines = []
    for positions, n in ((1, 1_500), (12, 200)):
        for inference in ("encoder", "omp"):
            for ratio, aligned in ((1, False), (2, False), (4, False), (2, True)):
                rows = np.array(
                    [_trained_nulls(s, inference, ratio, n, positions, aligned=aligned) for s in range(n_sets)]
                )
                share = " | ".join(f"{value:.1f}" for value in (rows[:, :3] <= 0.051).mean(0))
                z = " | ".join(f"{rows[:, i].mean():.1f} ± {rows[:, i].std():.1f}" for i in (3, 4))
                kind = "aligned" if aligned else "independent"
                mmcs = rows[:, 5].mean()
                lines.append(f"| {positions} | {inference} | {ratio} | {kind} | {share} | {z} | {mmcs:.2f} |")
    return lines
