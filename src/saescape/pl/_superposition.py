from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import superposition_keys
from saescape._validate import check_adata, require_key

from ._axes import show_if_wanted

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MEASURED, _NULLS = "#c1272d", {"usage": "#4878a8", "reencoded": "#6a9f58", "assignment": "#c8a45c"}
_LABELS = {
    "usage": "activations permuted",
    "reencoded": "permuted, coded again",
    "assignment": "decoder rows dealt",
}
_LEAST_REACH = 0.05


@doc_params
def superposition(adata: AnnData, *, key: str | None = None, ax: Axes | None = None, show: bool | None = None) -> Axes:
    """Plot the superposition score against its nulls, and the interference of single cells.

    First panel: the score (line), its draws under the permutation nulls (marks), the mean of a random dictionary with
    twice its standard deviation (bar), and 0, the value of an orthonormal dictionary. Second panel, only in a
    figure of its own (`ax=None`): the distribution of the signed interference over cells.

    Parameters
    ----------
    {adata}
    key
        `key_added` of :func:`saescape.tl.superposition_score`; None for the default.
    ax
        Axes for the first panel; a new figure with both panels when None.
    {show}

    Returns
    -------
    The axes of the first panel.

    Raises
    ------
    KeyError
        If the score has not been computed.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> sae.tl.superposition_score(adata, n_pairs=1000, n_perms=20, n_refits=0)
    >>> sae.pl.superposition(adata, show=False).get_xlabel()
    'co-activation-weighted interference'
    """
    check_adata(adata)
    names = superposition_keys(key)
    argument = None if key is None else "key"
    result = require_key(adata, "uns", names.uns, argument=argument)
    cells = np.asarray(require_key(adata, "obs", names.obs, argument=argument), dtype=float)
    cells_ax = None
    if ax is None:
        import matplotlib.pyplot as plt

        ax, cells_ax = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1.2, 1), layout="constrained")[1]
    _draw_nulls(ax, result)
    if cells_ax is not None:
        _draw_cells(cells_ax, cells)
    show_if_wanted(show=show)
    return ax


def _draw_nulls(ax: Axes, result: dict[str, Any]) -> None:
    score, null = float(result["score"]), result["null"]
    labels = []
    for row, (kind, color) in enumerate((kind, color) for kind, color in _NULLS.items() if kind in null):
        values = np.asarray(null[kind]["values"], dtype=float)
        labels.append(f"{_LABELS[kind]}\n(p = {null[kind]['pvalue']:.2g}, {len(values)} draws)")
        # draws can lie within a hair's breadth of each other: marks show where, however narrow
        ax.plot(values, np.full(len(values), row), "|", color=color, markersize=16, alpha=0.6)
    random = null["random_dictionary"]
    row = len(labels)
    ax.errorbar(random["mean"], row, xerr=2 * random["sd"], fmt="o", color="0.35", capsize=4)
    ax.plot(0.0, row + 1, "o", color="0.35")
    labels += ["random dictionary\n(mean ± 2 SD)", "orthonormal dictionary"]
    ax.axvline(score, color=_MEASURED, linewidth=2, label=f"score {score:.3g}")
    ax.set_yticks(range(len(labels)), labels, fontsize="small")
    ax.set_ylim(-0.6, len(labels) + 0.4)
    ax.set_xlim(left=min(0.0, random["mean"] - 2 * random["sd"], *ax.get_xlim()))
    title = "score and what it would be"
    if "gaussian" in null:
        # its scores lie far to the right and would leave no room for the others
        title += f"\nerror below that on Gaussian data by {float(null['gaussian']['sparse_gain']):.0%}"
    ax.set(xlabel="co-activation-weighted interference", title=title)
    ax.grid(visible=False)
    ax.legend(frameon=False, fontsize="small", loc="upper right")


def _draw_cells(ax: Axes, cells: np.ndarray) -> None:
    # without interference only rounding is left, which should not look like a distribution
    reach = max(float(np.abs(cells).max()), _LEAST_REACH)
    ends = (float(cells.min()), float(cells.max())) if reach > _LEAST_REACH else (-reach, reach)
    ax.hist(cells, bins=40, range=ends, color="0.6")
    ax.axvline(0.0, color="0.4", linestyle=":")
    median = float(np.median(cells))
    ax.axvline(median, color=_MEASURED, linewidth=2, label=f"median {median:.2f}")
    ax.set(xlabel="signed interference (0: orthogonal)", ylabel="cells", title="single cells")
    ax.grid(visible=False)
    # room above the bars for the legend
    ax.margins(y=0.25)
    ax.legend(frameon=False, fontsize="small", loc="upper right")
