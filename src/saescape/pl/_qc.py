from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import image_qc_keys
from saescape._validate import check_adata, require_key, string_list

from ._axes import SMALL, TEXT, TITLE, show_if_wanted
from ._qc_panels import Panel, draw_groups, draw_histogram, limits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

MAX_GROUPS = 20
# inches of a panel, and of each further group in it
_WIDTH, _HEIGHT, _PER_GROUP = 2.6, 1.9, 0.2
_LOGARITHMIC = {"focus", "mean", "sd"}
_LABELS = {
    "focus": "focus (variance of Laplacian)",
    "mean": "mean intensity",
    "sd": "SD of intensity",
    "saturated": "saturated pixels (share)",
    "foreground": "foreground pixels (share)",
}


@doc_params
def qc(
    adata: AnnData,
    *,
    channels: str | Sequence[str] | None = None,
    measures: str | Sequence[str] | None = None,
    groupby: str | None = None,
    key: str | None = None,
    show: bool | None = None,
) -> np.ndarray:
    """Show how measures of quality are distributed, with the limits of :func:`saescape.pp.image_qc`.

    One row per measure, one column per channel. Dashed lines are the limits, a band where they differ between groups
    that are drawn together. Observations beyond the limits of their own group are red, with a tick each; the title of
    a panel says how many there are, that above all panels how many fail in anything.

    Parameters
    ----------
    {adata}
    channels
        Channels to show; None for all.
    measures
        Measures to show: `focus`, `mean`, `sd`, `saturated`, `foreground`; None for all.
    groupby
        Column of `.obs`: one distribution for each group, up to 20. With more groups, or None, a histogram of all.
    key
        `key_added` of :func:`saescape.pp.image_qc`; None for the default.
    {show}

    Returns
    -------
    Array of :class:`matplotlib.axes.Axes`, `(n_measures, n_channels)`.

    Raises
    ------
    KeyError
        No quality measures, no verdict, or no such channel, measure or column.

    Notes
    -----
    Focus, mean and SD have a logarithmic axis, as the rule on outliers has, unless a hundredth of the values or more is
    not positive. Values far outside of the others are drawn at the edge.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> image = np.random.default_rng(0).poisson(100, (2, 160, 160)).astype(np.uint16)
    >>> adata = sae.pp.image_to_adata(image, tile_size=16, show_progress_bar=False)
    >>> sae.pl.qc(adata, measures=["focus", "mean"], show=False).shape
    (2, 2)
    """
    import matplotlib.pyplot as plt

    from saescape.imaging._qc_verdict import MEASURES, qc_columns_of

    check_adata(adata)
    parts = qc_columns_of(adata.obs.columns)
    if not parts:
        msg = "`adata.obs` has no quality measures (`qc_focus_<channel>`, ...); run `sae.pp.image_to_adata(...)`."
        raise KeyError(msg)
    keys = image_qc_keys(key)
    argument = None if key is None else "key"
    limits = require_key(adata, "uns", keys.uns, argument=argument)["limits"]
    passed = require_key(adata, "obs", keys.passed, argument=argument).to_numpy(dtype=bool)
    found = {(part.measure, part.channel): part.column for part in parts}
    shown_channels = _chosen("channels", channels, list(dict.fromkeys(part.channel for part in parts)))
    shown_measures = _chosen("measures", measures, [name for name in MEASURES if any(m == name for m, _ in found)])
    groups = None if groupby is None else require_key(adata, "obs", groupby, argument="groupby").astype("category")
    if groups is not None:
        groups = groups.cat.remove_unused_categories()
        if not 0 < len(groups.cat.categories) <= MAX_GROUPS:
            groups = None

    n_groups = 1 if groups is None else len(groups.cat.categories)
    size = (_WIDTH * len(shown_channels) + 0.6, (_HEIGHT + _PER_GROUP * (n_groups - 1)) * len(shown_measures) + 0.4)
    figure, axes = plt.subplots(
        len(shown_measures), len(shown_channels), figsize=size, squeeze=False, layout="constrained"
    )
    fields = _groups_of_limits(adata, keys.uns)
    for row, measure in zip(axes, shown_measures, strict=True):
        for column, (ax, channel) in enumerate(zip(row, shown_channels, strict=True)):
            name = found.get((measure, channel))
            if name is None:
                ax.set_axis_off()
                continue
            low, high = limits_of(limits[limits["column"] == name], fields, adata.n_obs)
            values = adata.obs[name].to_numpy(dtype=np.float64)
            panel = Panel(values, low, high, may_be_log=measure in _LOGARITHMIC, n_groups=n_groups)
            if groups is None:
                draw_histogram(ax, panel)
            else:
                draw_groups(ax, panel, groups.cat.codes.to_numpy(), [str(group) for group in groups.cat.categories])
                if column > 0:
                    ax.tick_params(labelleft=False)
            judged = bool((limits["column"] == name).any())
            ax.set_title(f"{channel}: {_percent(panel.failed)}" if judged else channel, fontsize=TEXT)
            ax.set_xlabel(_LABELS[measure], fontsize=SMALL)
            ax.tick_params(labelsize=SMALL - 1)
            ax.grid(visible=False)
    n_failed = int((~passed).sum())
    figure.suptitle(f"{n_failed} of {adata.n_obs} observations fail", fontsize=TITLE)
    show_if_wanted(show=show)
    return axes


def _chosen(argument: str, wanted: Any, available: list[str]) -> list[str]:
    names = string_list(argument, wanted)
    missing = [name for name in names if name not in available]
    if missing:
        msg = f"`{argument}`: {missing} not found. Available: {available}."
        raise KeyError(msg)
    return names or available


def _groups_of_limits(adata: AnnData, name: str) -> np.ndarray | None:
    """Group that each observation was judged in; None when the column is gone."""
    groupby = str(adata.uns[name]["params"]["groupby"])
    return adata.obs[groupby].astype(str).to_numpy() if groupby in adata.obs else None


def _percent(failed: np.ndarray) -> str:
    return f"{100 * failed.mean():.2g}% fail" if failed.any() else "none fails"
