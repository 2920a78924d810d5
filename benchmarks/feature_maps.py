"""Do maps of features show where planted motifs are? Simulated neurons (`datasets.neurons`), whose masks are known.

Tokens come from the filter bank. The autoencoder is fitted on the tokens of half of the fields; there the best feature
of each concept is chosen by its AUROC against the mask, and it is measured on the other half, by the maps of
`tl.feature_maps`; then the halves change places. AUROC is over pixels: all pixels of a position have its activation.
Three questions: mask against the rest of the crop; against the rest of the cells; against the motifs of other concepts
in the same channels. Beside it the best single dimension of the tokens and dictionaries that were never trained, chosen
in the same way, and a logistic regression on tokens of cells, which is told the truth.

    OMP_NUM_THREADS=1 python benchmarks/feature_maps.py [--fields 12] [--out benchmarks/results/feature_maps.md]
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from maps.planted import auroc, plant
from scipy import sparse
from sklearn.linear_model import LogisticRegression

import saescape as sae

QUESTIONS = ["whole crop", "within cells", "other motifs"]
SETTINGS = {
    "tiles of 32 pixels, positions of 4 pixels": False,
    "masked cells of 64 pixels, positions of 8 pixels": True,
}
_WIDE = {"n_features": 512, "k": 16}
MODELS = {
    "SAE, centred": _WIDE,
    "SAE, zscore": {"standardize": "zscore", **_WIDE},
    "SAE, zscore, 64 features": {"standardize": "zscore", "n_features": 64, "k": 6},
    "SAE, zscore, matryoshka, 128 features": {
        "standardize": "zscore",
        "n_features": 128,
        "k": 6,
        "architecture": "matryoshka",
    },
}
SHOWN = "SAE, zscore"
N_RANDOM = 3


def chosen_and_measured(codes, train, test):
    """By question, AUROC `(n_concepts,)` on the test half of the column that was best on the training half."""
    scores, best = {}, {}
    for question in QUESTIONS:
        found = auroc(codes(train), train.positive, train.negatives()[question])
        best[question] = found.argmax(0)
        columns = codes(test)[:, best[question]]
        scores[question] = auroc(columns, test.positive, test.negatives()[question]).diagonal()
    return scores, best


def by_feature_maps(test, train, best):
    """The same for features of a model in `train`, by `tl.feature_maps` on new images."""
    sae.tl.sae_transform(test.adata, train.adata, show_progress_bar=False)
    wanted = np.unique(np.concatenate(list(best.values())))
    sae.tl.feature_maps(test.adata, wanted, n_top=test.adata.n_obs)
    entry = test.adata.uns["feature_maps"]
    table = entry["table"]
    n_positions = test.adata.obsm["tokens"].shape[1]
    # observations in which a feature is not active have no map: it would be 0 everywhere
    maps = np.zeros((len(wanted), test.adata.n_obs, n_positions), dtype=np.float32)
    feature = np.searchsorted(wanted, table["feature"].astype(str).str.removeprefix("sae_").astype(int))
    rows = test.adata.obs_names.get_indexer(table["obs_name"])
    maps[feature, rows] = entry["maps"].reshape(len(table), -1)
    flat = maps.reshape(len(wanted), -1).T
    scores = {}
    for question in QUESTIONS:
        columns = sparse.csc_matrix(flat[:, np.searchsorted(wanted, best[question])])
        scores[question] = auroc(columns, test.positive, test.negatives()[question]).diagonal()
    return scores


def random_codes(train, n_features, k, seed, *, rows):
    """Encoder of a dictionary that was not trained: Gaussian directions, or tokens drawn at random; top k."""
    rng = np.random.default_rng(seed)
    mean, sd = train.tokens.mean(0), train.tokens.std(0)
    if rows:
        directions = (train.tokens[rng.choice(len(train.tokens), n_features, replace=False)] - mean) / sd
    else:
        directions = rng.normal(size=(n_features, len(mean)))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)

    def codes(planted):
        parts = []
        for tokens in np.array_split(planted.tokens, max(1, len(planted.tokens) // 8192)):
            activity = np.maximum((tokens - mean) / sd @ directions.T, 0)
            activity[activity < -np.partition(-activity, k - 1, axis=1)[:, k - 1 : k]] = 0
            parts.append(sparse.csr_matrix(activity))
        return sparse.vstack(parts).tocsc()

    return codes


def probe(train, test):
    """Logistic regression on at most 15,000 tokens of cells, told which positions have pixels of the concept."""
    inside = np.flatnonzero(train.cell.max(1) > 0)
    drawn = np.random.default_rng(0).permutation(inside)[:15_000]
    mean, sd = train.tokens[drawn].mean(0), train.tokens[drawn].std(0) + 1e-9
    directions = []
    for concept in train.positive.T:
        model = LogisticRegression(max_iter=200).fit((train.tokens[drawn] - mean) / sd, concept[drawn] > 0)
        directions.append(model.coef_[0])
    values = (test.tokens - mean) / sd @ np.array(directions).T
    return {question: auroc(values, test.positive, test.negatives()[question]).diagonal() for question in QUESTIONS[1:]}


def remember(function):
    """Codes of each half are computed once."""
    kept = {}

    def codes(planted):
        if id(planted) not in kept:
            kept[id(planted)] = function(planted)
        return kept[id(planted)]

    return codes


def measure(fields, *, of_cells):
    """Rows (way, fold, scores by question, chosen features by question)."""
    names = list(fields.images)
    halves = [plant(fields, names[start::2], of_cells=of_cells) for start in (0, 1)]
    rows = []
    for fold in (0, 1):
        train, test = halves[fold], halves[1 - fold]
        rows.append(("best dimension", fold, *chosen_and_measured(lambda half: half.tokens, train, test)))
        rows.append(("linear probe, told the truth", fold, probe(train, test), None))
        for name, settings in MODELS.items():
            start = time.perf_counter()
            sae.tl.sae_fit(train.adata, use_rep="tokens", show_progress_bar=False, device="cpu", **settings)
            model = sae.get.sae(train.adata)
            codes = remember(lambda half, model=model: model.transform(half.tokens).tocsc())
            scores, best = chosen_and_measured(codes, train, test)
            if name == SHOWN:
                mapped = by_feature_maps(test, train, best)
                for question in QUESTIONS:
                    np.testing.assert_allclose(mapped[question], scores[question], atol=1e-3)
                width, l0 = codes(train).shape[1], round(codes(train).nnz / len(train.tokens))
            rows.append((name, fold, scores, best))
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        for seed in range(N_RANDOM):
            for name, of_rows in (("random directions", False), ("random tokens", True)):
                codes = remember(random_codes(train, width, l0, seed, rows=of_rows))
                rows.append((name, fold, *chosen_and_measured(codes, train, test)))
    shape = f"{halves[0].adata.n_obs + halves[1].adata.n_obs:,} observations, width {width}, L0 {l0} (SAE, zscore)"
    return rows, shape


def mean_of(rows, way, question):
    """AUROC by concept, mean over folds (and seeds)."""
    return np.mean([scores[question] for name, _, scores, _ in rows if name == way and question in scores], axis=0)


def tables(fields, setting, rows, shape):
    yield f"### {setting[0].upper()}{setting[1:]}\n\n{shape}.\n"
    yield "| | " + " | ".join(f"{question}: mean | lowest | above .9" for question in QUESTIONS) + " | features |"
    yield "|---|" + "---:|" * (3 * len(QUESTIONS) + 1)
    for way in dict.fromkeys(row[0] for row in rows):
        cells = []
        for question in QUESTIONS:
            if way.startswith("linear") and question == QUESTIONS[0]:
                cells += ["", "", ""]
                continue
            values = mean_of(rows, way, question)
            cells += [f"{values.mean():.3f}", f"{values.min():.3f}", f"{(values > 0.9).sum()}"]
        distinct = [len(set(best[QUESTIONS[1]])) for name, _, _, best in rows if name == way and best is not None]
        yield (
            f"| {way} | " + " | ".join(cells) + f" | {np.mean(distinct):.1f} |"
            if distinct
            else (f"| {way} | " + " | ".join(cells) + " | |")
        )
    yield f"\n`{SHOWN}` by concept, beside the best dimension and the probe:\n"
    yield "| motif | channels | whole crop | within cells | dimension | probe | other motifs | dimension | probe |"
    yield "|---|---|" + "---:|" * 7
    whole = mean_of(rows, SHOWN, QUESTIONS[0])
    columns = [
        mean_of(rows, way, question)
        for question in QUESTIONS[1:]
        for way in (SHOWN, "best dimension", "linear probe, told the truth")
    ]
    kinds = fields.truth.var
    for i in np.argsort(kinds["motif"].to_numpy(dtype=str), kind="stable"):
        values = " | ".join(f"{column[i]:.2f}" for column in [whole, *columns])
        yield f"| {kinds['motif'].iloc[i]} | {kinds['channels'].iloc[i]} | {values} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=12)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", sae._warnings.SignificanceWarning)
    start = time.perf_counter()
    fields = sae.datasets.neurons(args.fields, n_ref=None)
    measured = {setting: measure(fields, of_cells=of_cells) for setting, of_cells in SETTINGS.items()}
    text = report(fields, measured, time.perf_counter() - start)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


def report(fields, measured, seconds):
    packages = ", ".join(f"{name} {version(name)}" for name in ("saescape", "numpy"))
    lines = [
        "# Maps of features against planted masks\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {len(fields.images)} fields of 512 x 512 pixels, 12 concepts, tokens of the "
        f"filter bank; {platform.machine()}, one thread, {seconds / 60:.0f} minutes, {packages}. Pixel AUROC of one "
        "feature per concept, chosen on half of the fields and measured on the other half, mean of both directions.\n",
        "*Whole crop*: the mask against everything else, mostly background. *Within cells*: against the rest of the "
        "cells. *Other motifs*: against the masks of other concepts in the same channels; .5 is a feature that tells "
        "nothing but the channel. *Features*: different features chosen for the 12 concepts within cells. Dictionaries "
        f"that were never trained (means of {N_RANDOM} draws) have the width and the L0 of `{SHOWN}`.\n",
    ]
    for setting, (rows, shape) in measured.items():
        lines += tables(fields, setting, rows, shape)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
