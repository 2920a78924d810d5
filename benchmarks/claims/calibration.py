from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats

import saescape as sae

from .grouped import cell_pvalues, well_means
from .matching import matched_codes
from .report import Check, Claim
from .simulated import DESIGN, fitted

_N_CELLS, _N_PHENOTYPES, _N_PERMS, _K = 200, 120, 99, 15
_N_LABELS, _LEVEL = 200, 0.05
_BAR = 0.01


def run(seeds: list[int]) -> Claim:
    """T7: p-values under no association, of neighbourhood statistics and of tests on features."""
    claim = Claim("T7", "p-values are uniform without association, and with plates only when these are respected")
    rows = [*_neighbourhoods(claim), *_features(claim, seeds)]
    claim.say(
        "Kolmogorov-Smirnov p against uniform, and share of p <= .05. Where plates are ignored the claim is that the "
        "test fails, so that the bar is on the share of p <= .05 being too large."
    )
    claim.table(["statistic", "phenotype", "p <= .05", "KS p"], rows)
    claim.say(
        f"Moran's I and local SD: `compare_representations`, {_N_PHENOTYPES} phenotypes, {_N_CELLS} cells on six "
        f"plates with an offset each, k {_K}, {_N_PERMS} permutations. Features: codes of default fits on 24 wells, "
        f"{_N_LABELS} random labels, a random feature of a plate concept each; labels of whole wells tested by "
        "scanpy's Wilcoxon test on cells, and by t tests of well means. Scanpy's default is `tie_correct=False`. "
        "The tests of features were changed after a first look (other concepts, more labels): take them as exploratory."
    )
    return claim


def _neighbourhoods(claim: Claim) -> list[list[object]]:
    adata = sae.datasets.superposition(
        _N_CELLS, n_positions=16, n_dims=16, n_concepts=32, plate_offset=0.1, **DESIGN, rng=0
    )
    rng, size = np.random.default_rng(0), (adata.n_obs, _N_PHENOTYPES)
    noise = rng.standard_normal(size)
    effect = rng.standard_normal((DESIGN["n_plates"], _N_PHENOTYPES))[adata.obs["plate"].cat.codes.to_numpy()]
    kinds = {
        "normal": noise,
        "80 % zeros": np.where(rng.random(size) < 0.8, 0.0, np.exp(noise)),
        "differs between plates": effect + noise,
    }
    rows = []
    for kind, batch_key in [(kind, None) for kind in kinds] + [("differs between plates", "plate")]:
        names = [f"y{i}" for i in range(_N_PHENOTYPES)]
        one = ad.AnnData(adata.X, obs=adata.obs[["plate"]].join(_frame(kinds[kind], names, adata)))
        sae.tl.compare_representations(
            one,
            "X",
            names,
            batch_key=batch_key,
            n_neighbors=_K,
            n_perms=_N_PERMS,
            baselines=False,
            show_progress_bar=False,
        )
        results = one.uns["compare_representations"]["results"]
        for statistic in ("morans_i", "local_sd_ratio"):
            found = results.loc[results["statistic"] == statistic, "pvalue"].to_numpy()
            # permutation p-values are discrete; spread evenly over their steps they are uniform under the null
            found = found - rng.random(len(found)) / (1 + _N_PERMS)
            name = f"{kind}, blocked by plate" if batch_key else kind
            rows.append(_judge(claim, statistic, name, found, uniform=kind != "differs between plates" or batch_key))
    return rows


def _features(claim: Claim, seeds: list[int]) -> list[list[object]]:
    pvalues: dict[tuple[str, str], list[float]] = {}
    for draw in range(_N_LABELS):
        rng = np.random.default_rng(draw)
        fit = fitted(128, seeds[draw % len(seeds)], designed=True)
        of_plates = (fit.uns["truth"]["concepts"]["role"] == "plate").to_numpy()
        one = ad.AnnData(
            matched_codes(fit)[:, [rng.choice(np.flatnonzero(of_plates))]], obs=fit.obs[["well", "plate"]].copy()
        )
        one.obs["cells"] = rng.permutation(one.n_obs) % 2 == 0
        wells = one.obs["well"].cat.categories
        chosen = wells[rng.permutation(len(wells)) < len(wells) // 2]
        one.obs["wells"] = one.obs["well"].isin(chosen)
        for name in ("cells", "wells"):
            one.obs[name] = one.obs[name].map({True: "a", False: "b"}).astype("category")
        means, labels = well_means(one.X, one.obs, "wells")
        first = (labels["wells"] == "a").to_numpy()
        found = {
            ("Wilcoxon on cells", "labels of cells"): cell_pvalues(one, "cells")[0],
            ("Wilcoxon on cells, no tie correction", "labels of cells"): cell_pvalues(one, "cells", ties=False)[0],
            ("Wilcoxon on cells", "labels of wells"): cell_pvalues(one, "wells")[0],
            ("t test of well means", "labels of wells"): stats.ttest_ind(means[first, 0], means[~first, 0]).pvalue,
        }
        for name, value in found.items():
            pvalues.setdefault(name, []).append(float(value))
    rows = []
    for (test, labels), values in pvalues.items():
        uniform = (test, labels) != ("Wilcoxon on cells", "labels of wells")
        rows.append(_judge(claim, test, labels, np.array(values), uniform=uniform))
    return rows


def _judge(claim: Claim, statistic: str, kind: str, pvalues: np.ndarray, *, uniform) -> list[object]:
    share, ks = float(np.mean(pvalues <= _LEVEL)), float(stats.kstest(pvalues, "uniform").pvalue)
    if uniform:
        claim.checks.append(Check(f"KS p, {statistic}, {kind}", ks, _BAR))
    else:
        limits = stats.binomtest(int((pvalues <= _LEVEL).sum()), len(pvalues)).proportion_ci()
        claim.checks.append(Check(f"share of p <= .05, {statistic}, {kind}", share, _LEVEL, interval=tuple(limits)))
    return [statistic, kind, f"{share:.3f}", f"{ks:.2g}"]


def _frame(values: np.ndarray, names: list[str], adata: ad.AnnData) -> pd.DataFrame:
    return pd.DataFrame(values, index=adata.obs_names, columns=names)
