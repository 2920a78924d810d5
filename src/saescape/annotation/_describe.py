"""What is known about a feature, and a sentence that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._concept_table import ALPHA

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = (
    "feature",
    "frac_active",
    "label",
    "label_key",
    "f1",
    "precision",
    "recall",
    "auc",
    "number",
    "spearman",
    "genes",
    "n_genes",
    "genes_source",
    "gene_set",
    "gene_set_overlap",
    "gene_set_size",
    "gene_set_qvalue",
    "nuisance",
)


def evidence(
    features: pd.DataFrame,
    frac_active: np.ndarray,
    genes: Mapping[str, Any] | None,
    enrichment: Mapping[str, Any] | None,
    concepts: Mapping[str, Any] | None,
    n_genes: int,
) -> list[dict[str, Any]]:
    """What is known about each feature; None where nothing is."""
    found: list[dict[str, Any]] = [
        dict.fromkeys(KEYS) | {"feature": str(name), "frac_active": float(share), "genes": []}
        for name, share in zip(features.index, frac_active, strict=True)
    ]
    place = {item["feature"]: item for item in found}
    if concepts is not None:
        _add_concepts(place, features, concepts["results"])
    if genes is not None:
        _add_genes(place, features, genes, n_genes)
    if enrichment is not None:
        _add_sets(place, features, enrichment["results"])
    return found


def _add_concepts(place: dict[str, dict[str, Any]], features: pd.DataFrame, table: pd.DataFrame) -> None:
    table = table.astype({"feature": object, "obs_key": object, "category": object})
    rows = table.set_index(["feature", "obs_key", "category"])
    for name, label, key in zip(features.index, features["label"], features["label_key"], strict=True):
        if label:
            row = rows.loc[(name, key, label)]
            row = row.iloc[0] if isinstance(row, pd.DataFrame) else row
            scores = {score: float(row[score]) for score in ("f1", "precision", "recall", "auc")}
            place[str(name)] |= {"label": str(label), "label_key": str(key)} | scores
    numbers = table[table["category"].isna() & ~table["nuisance"] & (table["qvalue"] <= ALPHA)]
    numbers = numbers[~(numbers["pvalue_max"] > ALPHA)]
    numbers = numbers.assign(size=numbers["spearman"].abs()).sort_values("size", ascending=False, kind="stable")
    for row in numbers.drop_duplicates("feature").itertuples():
        place[str(row.feature)] |= {"number": str(row.obs_key), "spearman": float(row.spearman)}
    if "nuisance_label" in features:
        for name, text in features["nuisance_label"].items():
            place[str(name)]["nuisance"] = str(text) or None


def _add_genes(
    place: dict[str, dict[str, Any]], features: pd.DataFrame, genes: Mapping[str, Any], n_genes: int
) -> None:
    results = genes["results"]
    tested = bool(results["qvalue"].notna().any())
    table = results[(results["effect"] > 0) & ((results["qvalue"] <= ALPHA) if tested else results["gene"].notna())]
    for name, members in table.groupby("feature", observed=True, sort=False)["gene"]:
        place[str(name)]["genes"] = [str(gene) for gene in members[:n_genes]]
    for name, count in features["n_genes"].items():
        place[str(name)]["n_genes"] = None if np.isnan(count) else int(count)
        place[str(name)]["genes_source"] = str(genes["params"]["source"])


def _add_sets(place: dict[str, dict[str, Any]], features: pd.DataFrame, table: pd.DataFrame) -> None:
    rows = table.astype({"feature": object}).set_index(["feature", "gene_set"])
    for name, gene_set in features["gene_set"].items():
        if gene_set:
            row = rows.loc[(name, gene_set)]
            place[str(name)] |= {
                "gene_set": str(gene_set),
                "gene_set_overlap": int(row["n_overlap"]),
                "gene_set_size": int(row["n_set"]),
                "gene_set_qvalue": float(row["qvalue"]),
            }


def sentence(known: Mapping[str, Any]) -> str:
    """Template with the numbers behind it."""
    if known["frac_active"] == 0:
        return f"{known['feature']} is never active."
    parts = []
    if known["label"] is not None:
        parts.append(
            f"goes with {known['label']} in {known['label_key']} (F1 {known['f1']:.2f}, precision "
            f"{known['precision']:.2f}, recall {known['recall']:.2f} in groups held out)"
        )
    if known["number"] is not None:
        direction = "higher" if known["spearman"] > 0 else "lower"
        parts.append(f"is higher where {known['number']} is {direction} (Spearman {known['spearman']:.2f})")
    if known["genes"]:
        parts.append(_genes(known))
    if known["gene_set"] is not None:
        parts.append(
            f"its genes are enriched in {known['gene_set']} ({known['gene_set_overlap']} of {known['gene_set_size']}, "
            f"q = {known['gene_set_qvalue']:.2g})"
        )
    if known["nuisance"] is not None:
        parts.append(f"follows {known['nuisance']} and may be technical")
    start = f"{known['feature']} is active in {100 * known['frac_active']:.2g} % of cells; "
    return start + ("; ".join(parts) if parts else "nothing was found to go with it") + "."


def _genes(known: Mapping[str, Any]) -> str:
    names = ", ".join(known["genes"])
    if known["genes_source"] == "model":
        return f"its largest loadings are of {names}"
    how = "carried-over expression" if known["genes_source"] == "transferred" else "expression"
    number = f" ({known['n_genes']} genes with q <= .05)" if known["n_genes"] is not None else " (not tested)"
    return f"{how} of {names} is higher where it is active{number}"
