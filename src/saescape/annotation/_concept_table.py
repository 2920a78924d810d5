"""Features and what labels or numbers go with them, as a table, and the label of each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import BoolArray

    from ._concepts import Concept

ALPHA = 0.05
COLUMNS = (
    "auc",
    "spearman",
    "strength",
    "f1",
    "f1_baseline",
    "precision",
    "recall",
    "threshold",
    "n_groups",
    "pvalue",
    "qvalue",
    "pvalue_max",
)


def concept_table(
    name: str, labels: Sequence[str] | None, result: Concept, features: np.ndarray, dead: BoolArray, *, nuisance: bool
) -> pd.DataFrame:
    """One row per label (or number) and feature; features that never fire have missing values."""
    shape = result.effects.effect.shape
    blank = np.full(shape, np.nan)
    held_out = result.held_out
    tables: dict[str, Any] = {
        "auc": result.effects.effect + 0.5 if labels is not None else blank,
        "spearman": blank if labels is not None else result.effects.effect,
        "strength": result.effects.strength,
        "f1": blank if held_out is None else held_out.f1,
        "f1_baseline": blank if held_out is None else np.broadcast_to(held_out.baseline[:, None], shape),
        "precision": blank if held_out is None else held_out.precision,
        "recall": blank if held_out is None else held_out.recall,
        "threshold": blank if held_out is None else held_out.threshold,
        "n_groups": result.effects.n_groups,
        "pvalue": result.pvalue,
        "qvalue": blank,
        "pvalue_max": result.pvalue_max,
    }
    n_labels, n_features = shape
    never = np.tile(dead, n_labels)
    table = pd.DataFrame(
        {
            "feature": np.tile(features.astype(object), n_labels),
            "obs_key": np.full(never.size, name, dtype=object),
            "category": np.repeat(
                np.array([None] if labels is None else [str(label) for label in labels], dtype=object), n_features
            ),
            "nuisance": np.full(never.size, nuisance),
        }
    )
    for column in COLUMNS:
        values = np.asarray(tables[column])
        table[column] = values.ravel() if column == "n_groups" else np.where(never, np.nan, values.ravel())
    return table


def joined(tables: Sequence[pd.DataFrame], features: np.ndarray) -> pd.DataFrame:
    """All tables as one, p-values adjusted over everything that was tested."""
    from saescape.links._nulls import false_discovery_rates

    table = pd.concat(tables, ignore_index=True)
    table["qvalue"] = false_discovery_rates(table["pvalue"].to_numpy(dtype=np.float64))
    table["feature"] = pd.Categorical(table["feature"], categories=pd.Index(features.astype(object)))
    for column in ("obs_key", "category"):
        table[column] = pd.Categorical(table[column], categories=pd.unique(table[column].dropna()))
    return table


def found_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of labels that hold: significant, against maxima too where there are any, and better than the baseline."""
    held = (
        ~table["nuisance"]
        & (table["qvalue"] <= ALPHA)
        & ~(table["pvalue_max"] > ALPHA)
        & (table["auc"] > 0.5)
        & (table["f1"] > table["f1_baseline"])
    )
    return table[held]


def label_scalars(table: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
    """Columns for the table of the features: the label with the best F1 held out, empty where none holds."""
    best = _first(found_labels(table).sort_values("f1", ascending=False, kind="stable"), features)
    result = {
        "label": best["category"].astype(object).fillna("").to_numpy(dtype=object),
        "label_key": best["obs_key"].astype(object).fillna("").to_numpy(dtype=object),
    }
    return result | {f"label_{name}": best[name].to_numpy(dtype=np.float64) for name in ("f1", "auc", "qvalue")}


def nuisance_scalars(table: pd.DataFrame, features: np.ndarray, strength: float) -> dict[str, np.ndarray]:
    """Whether a feature tells technical labels apart, and the one it goes with most."""
    rows = table[table["nuisance"] & (table["pvalue_max"] <= ALPHA)]
    # a feature that is rare in one of many donors is not theirs
    size = rows["strength"].fillna(rows["spearman"].abs())
    rows = rows.assign(size=size)[size >= strength].sort_values("size", ascending=False, kind="stable")
    best = _first(rows, features)
    flagged = best["obs_key"].notna().to_numpy()
    keys, categories = (best[name].astype(object) for name in ("obs_key", "category"))
    text = [
        "" if not flag else key if pd.isna(category) else f"{key}: {category}"
        for flag, key, category in zip(flagged, keys, categories, strict=True)
    ]
    return {"nuisance": flagged, "nuisance_label": np.array(text, dtype=object)}


def _first(rows: pd.DataFrame, features: np.ndarray) -> pd.DataFrame:
    rows = rows.assign(feature=rows["feature"].astype(object))
    return rows.drop_duplicates("feature").set_index("feature").reindex(features)
