from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import gw_keys
from saescape._validate import check_adata, require_key

from ._axes import fit_texts, show_if_wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MEASURED, _RIVAL, _OTHER = "#c1272d", "#e69f00", "0.55"
# differences smaller than this should not look large
_LEAST_SPAN = 0.05
_NULLS = {
    "reference_smooth": ("adata_ref replaced\nby a smooth image", "#4878a8"),
    "query_smooth": ("adata replaced\nby a smooth image", "#7fa8cf"),
    "reference_gaussian": ("adata_ref replaced\nby a normal cloud", "#6a9f58"),
    "query_gaussian": ("adata replaced\nby a normal cloud", "#a3c99a"),
    "reference_pieces": ("adata_ref in pieces,\nrearranged", "#8b6bb1"),
    "query_pieces": ("adata in pieces,\nrearranged", "#b9a3d3"),
}


@doc_params
def gw_nulls(adata: AnnData, *, key: str | None = None, ax: Axes | None = None, show: bool | None = None) -> Axes:
    """Plot what speaks for and against a coupling: its loss among the null losses, and the other optima.

    First panel: the loss of the data (line) and the losses of the same search on unrelated clouds (marks), a row for
    each kind with its p-value; the largest of these is the p-value of the coupling. Second panel, only in a figure
    of its own (`ax=None`): loss and agreement with the chosen coupling of the best distinct optima. Those far to the
    left and no higher than the chosen one are other answers that fit about as well; those that make the coupling
    ambiguous are marked. Losses of the starts are of a smaller problem and not comparable: see the table `starts`.

    Parameters
    ----------
    {adata}
    key
        `key_added` of :func:`saescape.tl.gw_map`; None for the default.
    ax
        Axes for the first panel; a new figure with both panels when None.
    {show}

    Returns
    -------
    The axes of the first panel.

    Raises
    ------
    KeyError
        If there is no coupling.

    Notes
    -----
    The loss of the first panel is that of a coreset of at most 400 cells of each side, as in the nulls; it is not the
    loss of the second panel, which is that of the coupling itself.

    Examples
    --------
    >>> import warnings
    >>> import saescape as sae
    >>> adata, adata_ref = sae.datasets.paired(60, 60, n_types=2)
    >>> quick = {"n_starts": 2, "n_nulls": 1, "show_progress_bar": False, "device": "cpu"}
    >>> with warnings.catch_warnings(action="ignore"):  # one null is too few for a small p-value
    ...     sae.tl.gw_map(adata, adata_ref, use_rep="X_image", **quick)
    >>> sae.pl.gw_nulls(adata, show=False).get_xlabel()
    'GW loss (0: isometry, 2: no relation)'
    """
    check_adata(adata)
    result = require_key(adata, "uns", gw_keys(key).uns, argument=None if key is None else "key")
    if not hasattr(result, "keys") or "optima" not in result:
        msg = (
            f"`adata.uns[{gw_keys(key).uns!r}]` holds no coupling; run `sae.tl.gw_map(adata, adata_ref)` first to "
            "create it."
        )
        raise KeyError(msg)
    optima_ax = None
    if ax is None:
        import matplotlib.pyplot as plt

        ax, optima_ax = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1.25, 1), layout="constrained")[1]
    _draw_nulls(ax, result)
    if optima_ax is not None:
        _draw_optima(optima_ax, result, min(adata.n_obs, len(result["ref_names"])))
    show_if_wanted(show=show)
    return ax


def _draw_nulls(ax: Axes, result: dict[str, Any]) -> None:
    observed, nulls = float(result["null_observed"]), result["nulls"]
    n_nulls, labels = len(nulls), []
    for row, kind in enumerate(nulls.columns):
        name, color = _NULLS.get(kind, (str(kind).replace("_", " "), _OTHER))
        losses = nulls[kind].to_numpy(dtype=float)
        if n_nulls:
            name += f" (p = {(1 + np.sum(losses <= observed)) / (1 + n_nulls):.2g})"
        labels.append(name)
        # losses can lie close together: marks show where
        ax.plot(losses, np.full(n_nulls, row), "|", color=color, markersize=16, markeredgewidth=1.5, alpha=0.8)
    ax.axvline(observed, color=_MEASURED, linewidth=2, label=f"data {observed:.2f}")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.9)
    pvalue = float(result["pvalue"])
    title = (
        "significance not tested (`n_nulls=0`)"
        if np.isnan(pvalue)
        else f"p = {pvalue:.2g}, {n_nulls} nulls of each kind"
    )
    if n_nulls == 0:
        ax.set_xlim(0, 2)
    ax.set(xlabel="GW loss (0: isometry, 2: no relation)", title=title)
    ax.grid(visible=False)
    ax.legend(frameon=False, loc="upper right")
    fit_texts(ax)


def _draw_optima(ax: Axes, result: dict[str, Any], n_cells: int) -> None:
    optima = result["optima"][["agreement", "loss"]].to_numpy(dtype=float)
    chosen = int(np.argmax(optima[:, 0]))
    rival = np.zeros(len(optima), dtype=bool)
    if bool(result["ambiguous"]):
        rival = np.array([_is_rival(optima[chosen], other, n_cells) for other in optima])
    plain = ~rival
    plain[chosen] = False
    for which, marker, color, label in (
        (plain, "o", _OTHER, "other optima"),
        (rival, "D", _RIVAL, "as good, but different"),
        (np.arange(len(optima)) == chosen, "o", _MEASURED, "chosen"),
    ):
        if which.any():
            ax.plot(*optima[which].T, marker, color=color, markersize=8, markeredgecolor="white", label=label)
    ax.set(
        xlim=(-1.08, 1.08),
        xlabel="agreement with the chosen coupling",
        ylabel="GW loss",
        title="ambiguous" if bool(result["ambiguous"]) else "not ambiguous",
    )
    ax.grid(visible=False)
    low, high = optima[:, 1].min() - _LEAST_SPAN, optima[:, 1].max() + _LEAST_SPAN
    # room above the points for the legend
    ax.set_ylim(low, high + 0.7 * (high - low))
    ax.legend(frameon=False, loc="upper left")
    fit_texts(ax)


def _is_rival(chosen: np.ndarray, other: np.ndarray, n_cells: int) -> bool:
    from saescape.transport._align import Starts
    from saescape.transport._significance import is_ambiguous

    agreement, loss = np.stack([chosen, other]).T
    return is_ambiguous(Starts(["", ""], loss, agreement), n_cells)
