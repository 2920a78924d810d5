from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._keys import IMAGE_UNS, feature_maps_key
from saescape._validate import check_adata, check_integer, require_key, string_list

from ._axes import show_if_wanted
from ._crop_marks import draw_channel_legend, draw_outline
from ._crop_pictures import draw_pictures
from ._top_crops import _bare, _resolve_channels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

# inches of a crop, and of a title above it
_PANEL = 1.3
_TITLE = 0.22


@doc_params
def feature_maps(
    adata: AnnData,
    features: str | Sequence[str] | None = None,
    *,
    key: str | None = None,
    n_maps: int = 8,
    channels: Sequence[str] | None = None,
    outline: bool = True,
    folder: str | Path | None = None,
    show: bool | None = None,
) -> np.ndarray:
    """Show where in the crops features are active, as mapped by :func:`saescape.tl.feature_maps`.

    Two rows per feature (and group): the crops of its exemplars, with the activation of the observation above, and the
    same in grey under the activation of each position. All maps of a feature share one colour scale, from 0 to its
    highest activation at any position of its exemplars. Crops are drawn with their surroundings; with `mask_crops` the
    encoder saw only what lies inside the outline.

    Parameters
    ----------
    {adata}
    features
        Names of mapped features; None for all.
    key
        `key_added` of :func:`saescape.tl.feature_maps`.
    n_maps
        Exemplars per feature (and group); those of the highest ranks, evenly spaced ones of `exemplars="range"`.
    channels
        Channels to blend, see :func:`saescape.pl.top_crops`.
    outline
        Draw the outline of the observation's own label.
    folder
        Folder with the image files, see :func:`saescape.get.crops`.
    {show}

    Returns
    -------
    Array of :class:`matplotlib.axes.Axes`, two rows per feature and group, `n_maps` columns.

    Raises
    ------
    KeyError
        Nothing was mapped, or not these features.
    ValueError
        For exemplars that are no longer in `adata`, names of observations that are not unique, and pixels that cannot
        be reached.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> image = np.random.default_rng(0).poisson(100, (2, 96, 96)).astype(np.uint16)
    >>> adata = sae.pp.image_to_adata(image, tile_size=32, encoder="filters", tokens=True, show_progress_bar=False)
    >>> sae.tl.sae_fit(adata, 32, use_rep="tokens", k=2, max_epochs=3, show_progress_bar=False)
    >>> sae.tl.feature_maps(adata, [0, 1, 2, 3], n_top=2)
    >>> axes = sae.pl.feature_maps(adata, n_maps=2, show=False)
    >>> axes.shape[1]
    2
    """
    import matplotlib.pyplot as plt

    from saescape.maps._overlay import overlay

    check_adata(adata)
    check_integer("n_maps", n_maps)
    name = feature_maps_key(key)
    entry = require_key(adata, "uns", name, argument=None if key is None else "key")
    if not isinstance(entry, Mapping) or not {"maps", "table", "params"} <= set(entry):
        msg = f"`adata.uns[{name!r}]` holds no maps; run `sae.tl.feature_maps(adata, features)` first."
        raise KeyError(msg)
    stored = require_key(adata, "uns", IMAGE_UNS)
    available = [str(channel) for channel in stored["channel_names"]]
    chosen = _resolve_channels(channels, available)
    if not adata.obs_names.is_unique:
        msg = "`adata.obs_names` are not unique; call `adata.obs_names_make_unique()` and `sae.tl.feature_maps` again."
        raise ValueError(msg)
    table: pd.DataFrame = entry["table"]
    panels = _panels(table, features, n_maps, spread=str(entry["params"]["exemplars"]) == "range")
    missing = [obs for _, members in panels for obs in table["obs_name"].iloc[members] if obs not in adata.obs_names]
    if missing:
        msg = f"{len(missing)} exemplars such as {missing[0]!r} are not in `adata`; run `sae.tl.feature_maps` again."
        raise ValueError(msg)

    width = max(len(members) for _, members in panels)
    figure, axes = plt.subplots(
        2 * len(panels),
        width,
        figsize=(_PANEL * width + 0.6, (2 * _PANEL + _TITLE) * len(panels) + 0.2),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        _bare(ax)
    for i, (label, members) in enumerate(panels):
        rows = adata.obs_names.get_indexer(table["obs_name"].iloc[members])
        drawn = draw_pictures(adata, rows, chosen, outline=outline, folder=folder)
        maps = np.asarray(entry["maps"])[members]
        highest = float(table.loc[table["feature"] == table["feature"].iloc[members[0]], "highest"].max())
        mapped = overlay(drawn.colors, maps, highest)
        for j, member in enumerate(members):
            axes[2 * i, j].imshow(drawn.colors[j], interpolation="nearest")
            axes[2 * i + 1, j].imshow(mapped[j], interpolation="nearest")
            if drawn.outlines is not None:
                draw_outline(axes[2 * i, j], drawn.outlines[j])
            axes[2 * i, j].set_title(f"{table['activation'].iloc[member]:.3g}", fontsize=8, pad=2)
        axes[2 * i, 0].set_ylabel(label, fontsize=8)
        axes[2 * i + 1, 0].set_ylabel(f"0 to {highest:.3g}", fontsize=8)
    draw_channel_legend(figure, [available[c] for c in chosen], None)
    show_if_wanted(show=show)
    return axes


def _panels(
    table: pd.DataFrame, features: str | Sequence[str] | None, n_maps: int, *, spread: bool
) -> list[tuple[str, np.ndarray]]:
    """Label and rows of the table for each feature and group, the first ones or evenly spaced ones."""
    known = [str(name) for name in table["feature"].cat.categories if (table["feature"] == name).any()]
    wanted = known if features is None else string_list("features", features)
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        msg = f"`features`: {missing or 'nothing'} not mapped; mapped are {known[:10]}."
        raise KeyError(msg)
    panels = []
    several = table["group"].nunique() > 1
    for name in wanted:
        of_feature = table["feature"] == name
        for group in table["group"].cat.categories:
            members = np.flatnonzero(of_feature & (table["group"] == group))
            if spread and len(members) > n_maps:
                members = members[np.linspace(0, len(members) - 1, n_maps).round().astype(np.int64)]
            members = members[:n_maps]
            if len(members):
                panels.append((f"{name}\n{group}" if several else name, members))
    return panels
