from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import representations_key
from saescape._validate import check_adata, check_choice, require_key

from ._axes import new_axes, show_if_wanted

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

_LABELS = {
    "morans_i": "Moran's I",
    "gearys_c": "Geary's C",
    "local_sd_ratio": "local SD / SD",
    "knn_r2": "$R^2$ of neighbours",
    "ridge_r2": "$R^2$ of ridge regression",
    "neighbor_purity": "neighbours with the same label",
    "knn_accuracy": "balanced accuracy of neighbours",
    "probe_accuracy": "balanced accuracy of linear probe",
    "knn_overlap": "shared neighbours",
}


@doc_params
def representations(
    adata: AnnData,
    statistic: str | None = None,
    *,
    obs_key: str | None = None,
    group: str = "all",
    n_dims: int | None = None,
    key: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes:
    """Plot a statistic of each representation against the number of neighbours, with what chance gives.

    Solid lines are the representations compared, dashed ones the baselines; the band is the mean of the permutations
    and twice their standard deviation, over all representations. Statistics without neighbours (`ridge_r2`,
    `probe_accuracy`) are drawn as points with their own null beside.

    Parameters
    ----------
    {adata}
    statistic
        Name in the results; None takes `morans_i` for a number, `neighbor_purity` for labels.
    obs_key
        Phenotype; None takes the first one that has the statistic.
    group
        Group of `groupby`; `"all"` has all cells.
    n_dims
        Only rows with this number of dimensions, as after `dims=32`; None takes all, and labels tell them apart.
    key
        `key_added` of :func:`saescape.tl.compare_representations`; None for the default.
    {ax}
    {show}

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If the results have no such statistic, phenotype, group or number of dimensions.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.compare_representations(
    ...     adata, ["X_pca", "X_umap"], "n_genes", n_perms=20, baselines=False, show_progress_bar=False
    ... )
    >>> sae.pl.representations(adata, "morans_i", show=False).get_ylabel()
    "Moran's I"
    """
    check_adata(adata)
    name = representations_key(key)
    stored = require_key(adata, "uns", name, argument=None if key is None else "key")
    if not hasattr(stored, "keys") or "results" not in stored:
        msg = (
            f"`adata.uns[{name!r}]` holds no comparison; run "
            "`sae.tl.compare_representations(adata, use_reps, obs_keys)` first to create it."
        )
        raise KeyError(msg)
    table, statistic, obs_key = _chosen(stored["results"], statistic, obs_key, group, n_dims)
    ax = new_axes(ax, figsize=(6.4, 4.2))
    lines = _lines(table)
    if table["k"].notna().all():
        _draw_lines(ax, lines)
    else:
        _draw_points(ax, lines)
    about = " · ".join(part for part in (obs_key, "" if group == "all" else group) if part)
    ax.set(ylabel=_LABELS[statistic], title=about)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=2.6)
    show_if_wanted(show=show)
    return ax


def _chosen(
    results: pd.DataFrame, statistic: str | None, obs_key: str | None, group: str, n_dims: int | None
) -> tuple[pd.DataFrame, str, str]:
    available = list(dict.fromkeys(results["statistic"]))
    if obs_key is not None:
        check_choice("obs_key", obs_key, [column for column in dict.fromkeys(results["obs_key"]) if column])
        available = list(dict.fromkeys(results.loc[results["obs_key"] == obs_key, "statistic"]))
    if statistic is None:
        statistic = next((name for name in ("morans_i", "neighbor_purity") if name in available), available[0])
    # overlaps of representations belong to no phenotype
    overlaps = {"knn_overlap"} & set(results["statistic"]) - set(available)
    check_choice("statistic", statistic, [*available, *overlaps])
    rows = results[results["statistic"] == statistic]
    if statistic == "knn_overlap":
        obs_key = ""
    elif obs_key is None:
        obs_key = str(rows["obs_key"].iloc[0])
    rows = rows[rows["obs_key"] == obs_key]
    check_choice("group", group, list(dict.fromkeys(rows["group"])))
    rows = rows[rows["group"] == group]
    if n_dims is not None:
        check_choice("n_dims", n_dims, sorted({int(width) for width in rows["n_dims"]}))
        rows = rows[rows["n_dims"] == n_dims]
    return rows, statistic, obs_key


def _lines(table: pd.DataFrame) -> list[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Label, style and rows of each representation, in the order of the results."""
    lines = []
    colors: dict[str, str] = {}
    table = table.assign(n_dims_other=table["n_dims_other"].fillna(0))
    widths = ["n_dims", "n_dims_other"]
    several = len(table[["rep", "rep_other", *widths]].drop_duplicates()) > len(
        table[["rep", "rep_other"]].drop_duplicates()
    )
    for (rep, other, *both), rows in table.groupby(["rep", "rep_other", *widths], sort=False):
        pair = f"{rep} and {other}" if other else str(rep)
        color = colors.setdefault(pair, f"C{len(colors) % 10}")
        label = f"{pair}, {' and '.join(str(width) for width in both if width)} dimensions" if several else pair
        base = bool(rows["baseline"].iloc[0])
        same = table[(table["rep"] == rep) & (table["rep_other"] == other)]
        narrow = sum(both) < same[widths].sum(axis=1).max()
        style = {
            "color": color,
            "linestyle": "--" if base else "-",
            "marker": "s" if narrow else "o",
            "markersize": 4 if base else 5.5,
            "linewidth": 1.2 if base else 2,
            "markerfacecolor": "white" if narrow else color,
        }
        lines.append((label, style, rows.sort_values("k")))
    return lines


def _draw_lines(ax: Axes, lines: list[tuple[str, dict[str, Any], pd.DataFrame]]) -> None:
    import pandas as pd

    everything = pd.concat([rows for _, _, rows in lines])
    null = everything.assign(
        low=everything["null_mean"] - 2 * everything["null_sd"],
        high=everything["null_mean"] + 2 * everything["null_sd"],
    )
    null = null.groupby("k").agg(low=("low", "min"), high=("high", "max"), mean=("null_mean", "mean"))
    ks = null.index.to_numpy(dtype=float)
    if null["mean"].notna().all():
        ax.fill_between(ks, null["low"], null["high"], color="0.85", linewidth=0, label="chance (mean ± 2 SD)")
        ax.plot(ks, null["mean"], color="0.55", linewidth=1)
    for label, style, rows in lines:
        ax.plot(rows["k"].to_numpy(dtype=float), rows["value"], label=label, **style)
    ax.set_xticks(ks)
    ax.set_xlabel("neighbours $k$")


def _draw_points(ax: Axes, lines: list[tuple[str, dict[str, Any], pd.DataFrame]]) -> None:
    for i, (_, style, rows) in enumerate(lines):
        row = rows.iloc[0]
        if np.isfinite(row["null_mean"]):
            label = "chance (mean ± 2 SD)" if i == 0 else None
            null: dict[str, Any] = {
                "color": "0.6",
                "marker": "_",
                "markersize": 14,
                "capsize": 4,
                "linestyle": "",
                "label": label,
            }
            ax.errorbar(i, row["null_mean"], 2 * row["null_sd"], **null)
        filled = style["color"] if style["linestyle"] == "-" else "white"
        ax.plot(i, row["value"], "o", color=style["color"], markerfacecolor=filled, markersize=8)
    ax.set_xticks(range(len(lines)), [label for label, _, _ in lines], rotation=30, ha="right")
    ax.set_xlim(-0.6, len(lines) - 0.4)
    ax.plot([], [], "o", color="0.2", label="compared")
    ax.plot([], [], "o", color="0.2", markerfacecolor="white", label="baseline")
