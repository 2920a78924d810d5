"""Are the p-values of `tl.gw_links` right on unrelated pairs, and are planted links found on related ones?

    python benchmarks/gw_links.py [--rho 0] [--n-cells 250] [--seeds 0 20] [--n-nulls 20]

One line of JSON per pair: share of links with p < .05, smallest q-value, global p-value, share of genes with a
predictability p-value of at most .05, and the area under the ROC curve of planted links.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

import numpy as np
from sklearn.metrics import roc_auc_score

import saescape as sae


def measure(seed: int, rho: float, n_cells: int, n_nulls: int) -> dict[str, float]:
    adata, adata_ref = sae.datasets.paired(n_cells, n_cells, rho=rho, rng=seed)
    quiet = {"show_progress_bar": False, "device": "cpu"}
    sae.tl.gw_map(adata, adata_ref, use_rep="X_image", n_nulls=0, **quiet)
    start = time.process_time()
    sae.tl.gw_links(adata, adata_ref, feature_key="programs", n_nulls=n_nulls, **quiet)
    seconds = time.process_time() - start
    entry = adata.uns["gw_links"]
    program = adata_ref.var["program"].astype(str).to_numpy()
    planted = np.array([name.replace("programs", "program") == program for name in entry["features"]])
    known = np.isfinite(entry["pvalue"])
    significant = known & (entry["qvalue"] < 0.05)
    return {
        "seed": seed,
        "rho": rho,
        "p_below_05": float(np.mean(entry["pvalue"][known] < 0.05)),
        "smallest_q": float(entry["qvalue"][known].min()),
        "significant": int(significant.sum()),
        "significant_planted": int((significant & planted).sum()),
        "pvalue_global": entry["pvalue_global"],
        "predictability": float(entry["genes"]["predictability"].mean()),
        "predictability_null": float(entry["genes"]["predictability_null"].mean()),
        "predictability_below_05": float((entry["genes"]["predictability_pvalue"] <= 0.05).mean()),
        "auroc": float(roc_auc_score(planted[known], entry["correlation"][known])),
        "auroc_z": float(roc_auc_score(planted[known], entry["zscore"][known])),
        "refit_agreement": entry["refit_agreement"],
        "cpu_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rho", type=float, default=0.0)
    parser.add_argument("--n-cells", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 20))
    parser.add_argument("--n-nulls", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in range(*args.seeds):
        row = measure(seed, args.rho, args.n_cells, args.n_nulls)
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
