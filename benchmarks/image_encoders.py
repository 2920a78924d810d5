"""What pooled representations of cells know: `models.ContrastiveEncoder` beside what needs no training.

Blood cells (`datasets.blood_smear`, crops of 64 pixels, three classes) and simulated neurons (`datasets.neurons`, crops
of 96 pixels, four channels, plates with different gain). For each seed half of the fields (blood) or plates (neurons)
trains everything: pixel PCA, networks and probes; the other half is measured. No field or plate is in both halves.
Probes: logistic regression (balanced, penalty by grouped folds of the training half), majority of the 10 nearest
training cells by cosine, ridge regression. Every column is standardised by the training half first.

    OMP_NUM_THREADS=1 python benchmarks/image_encoders.py --data blood --seeds 0 1 2 --raw rows.jsonl
    OMP_NUM_THREADS=1 python benchmarks/image_encoders.py --data neurons --seeds 0 1 --n-dims 64 --raw rows.jsonl
    python benchmarks/image_encoders.py --report rows.jsonl --out benchmarks/results/image_encoders.md
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

import saescape as sae

ORDER = ["pixel PCA", "named features", "filter bank", "untrained", "self-supervised", "supervised"]


def blood():
    fields = sae.datasets.blood_smear()
    boxes = list(fields.boxes.groupby("field"))
    centers = {field: part[["x", "y"]].to_numpy() for field, part in boxes}
    settings = {"centers": centers, "qc": False, "show_progress_bar": False}
    named = sae.pp.image_to_adata(fields.images, **settings)
    filters = sae.pp.image_to_adata(fields.images, encoder="filters", **settings)
    label = np.concatenate([part["cell_type"].astype(str).to_numpy() for _, part in boxes])
    group = named.obs["region"].astype(str).to_numpy()
    return sae.get.crops(named), named.X, filters.X, label, group, None


def neurons():
    fields = sae.datasets.neurons(48, n_ref=None, n_plates=8, plate_effect=0.1)
    images = {name: image[:4] for name, image in fields.images.items()}
    settings = {"channel_names": fields.channel_names[:4], "crop_size": 96, "qc": False, "show_progress_bar": False}
    named = sae.pp.image_to_adata(images, fields.labels, **settings)
    filters = sae.pp.image_to_adata(images, fields.labels, encoder="filters", **settings)
    truth = fields.truth[named.obs_names]
    targets = pd.DataFrame(truth.X, columns=[f"{c} ({m})" for c, m in truth.var["motif"].items()])
    targets["time"] = truth.obs["time"].to_numpy()
    label, plate = (truth.obs[name].astype(str).to_numpy() for name in ("condition", "plate"))
    return sae.get.crops(named), named.X, filters.X, label, plate, targets


def halves(group, seed):
    names = np.random.default_rng(seed).permutation(np.unique(group))
    return np.isin(group, names[: len(names) // 2])


def representations(crops, named, filters, label, group, train, seed, n_dims):
    """Name, matrix of all cells and seconds of one thread for each way; only the training half is learnt from."""
    flat = crops.reshape(len(crops), -1)
    yield "pixel PCA", PCA(50, svd_solver="randomized", random_state=seed).fit(flat[train]).transform(flat), 0.0
    yield "named features", named, 0.0
    yield "filter bank", filters, 0.0
    settings = {"rng": seed, "device": "cpu", "n_dims": n_dims}
    ways = {"untrained": ({"max_epochs": 0}, ()), "self-supervised": ({}, ()), "supervised": ({}, ("label",))}
    for name, (changed, labels) in ways.items():
        encoder = sae.models.ContrastiveEncoder(**settings, **changed)
        start = time.process_time()
        known = {"labels": label[train], "groups": {"group": group[train]}} if labels else {}
        encoder.fit(crops[train], **known)
        yield name, encoder.transform(crops), time.process_time() - start


def measure(x, label, group, targets, train):
    scaler = StandardScaler().fit(x[train])
    known, new = scaler.transform(x[train]), scaler.transform(x[~train])
    folds = list(GroupKFold(4).split(known, groups=group[train]))
    logistic = LogisticRegression(class_weight="balanced", max_iter=500)
    probe = GridSearchCV(logistic, {"C": [0.003, 0.03, 0.3]}, cv=folds, scoring="balanced_accuracy")
    nearest = KNeighborsClassifier(10).fit(normalize(known), label[train])
    out = {
        "kNN": balanced_accuracy_score(label[~train], nearest.predict(normalize(new))),
        "linear probe": balanced_accuracy_score(label[~train], probe.fit(known, label[train]).predict(new)),
    }
    for name in [] if targets is None else targets:
        y = targets[name].to_numpy()
        ridge = GridSearchCV(Ridge(), {"alpha": 10.0 ** np.arange(0, 6)}, cv=folds, scoring="r2")
        predicted = ridge.fit(known, y[train]).predict(new)
        out[name] = r2_score(y[~train], predicted)
        if name == "time":
            out["time"] = np.corrcoef(y[~train], predicted)[0, 1]
    return out


def run(data, seeds, n_dims, raw):
    crops, named, filters, label, group, targets = {"blood": blood, "neurons": neurons}[data]()
    for seed in seeds:
        train = halves(group, seed)
        for name, x, seconds in representations(crops, named, filters, label, group, train, seed, n_dims):
            row = {"data": data, "seed": seed, "way": name, "seconds": seconds, "n": len(crops), "n_train": sum(train)}
            row |= {"d": x.shape[1]} | measure(x, label, group, targets, train)
            with raw.open("a") as file:
                file.write(json.dumps(row, default=float) + "\n")


def spread(values):
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def table(rows, columns):
    lines = ["| | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in [name for name in ORDER if name in set(rows["way"])]:
        own = rows[rows["way"] == name]
        lines.append(f"| {name} | {len(own)} | " + " | ".join(spread(own[column]) for column in columns) + " |")
    return lines


def report(rows, notes):
    concepts = [column for column in rows if column.startswith("concept_")]
    rows["concepts (mean R2)"] = rows[concepts].mean(axis=1)
    rows["time (r)"] = rows["time"]
    lines = ["# Pooled representations of cells", ""]
    lines += [f"{datetime.now(UTC):%Y-%m-%d}, saescape {sae.__version__}, torch {torch.__version__}.", ""]
    for data, columns in {
        "blood": ["kNN", "linear probe"],
        "neurons": ["concepts (mean R2)", "time (r)", "linear probe", "kNN"],
    }.items():
        part = rows[rows["data"] == data]
        seeds = part["seed"].nunique()
        classes = "three classes" if data == "blood" else "two conditions; supervised by condition"
        trained = part.loc[part["way"] == "self-supervised", "seconds"]
        lines += [f"## {data.capitalize()}", ""]
        lines += [
            f"{part['n'].iloc[0]} cells, {classes}; mean (range) of {seeds} seeds, each with another split, on cells"
        ]
        lines += [f"of fields or plates not trained on. Networks have {part['d'][trained.index].iloc[0]} dimensions;"]
        lines += [f"training one took {trained.mean():.0f} s of processor time (400 steps of 64 crops).", ""]
        lines += table(part, columns) + [""]
        base = part[part["way"] == "untrained"].set_index("seed")[columns]
        gains = [part[part["way"] == way].set_index("seed")[columns] - base for way in ORDER[-2:]]
        lines += ["Change by training, same seed and split:", "", "| | " + " | ".join(columns) + " |"]
        lines += ["|---" * (len(columns) + 1) + "|"]
        lines += [
            f"| {way} - untrained | " + " | ".join(spread(gain[c]) for c in columns) + " |"
            for way, gain in zip(ORDER[-2:], (g.dropna() for g in gains), strict=True)
        ]
        lines += [""]
    mean = rows[rows["data"] == "neurons"].groupby("way")[concepts].mean().reindex(ORDER).dropna()
    lines += [
        "R2 of the number of motifs, by concept (means over the seeds above):",
        "",
        "| | " + " | ".join(mean.index) + " |",
    ]
    lines += ["|---" * (len(mean) + 1) + "|"]
    lines += [f"| {c} | " + " | ".join(f"{value:.2f}" for value in mean[c]) + " |" for c in concepts]
    return "\n".join([*lines, "", *notes]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["blood", "neurons"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-dims", type=int, default=128)
    parser.add_argument("--raw", type=Path, default=Path("rows.jsonl"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.data:
        run(arguments.data, arguments.seeds, arguments.n_dims, arguments.raw)
    if arguments.report:
        notes = arguments.notes.read_text().splitlines() if arguments.notes else []
        text = report(pd.read_json(arguments.report, lines=True), notes)
        arguments.out.write_text(text) if arguments.out else print(text)


if __name__ == "__main__":
    main()
